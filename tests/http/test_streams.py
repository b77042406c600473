"""What must happen at a known time, with the scripted engine behind the real server."""
import contextlib
import http.client
import json
import re
import secrets
import threading
import time

import pytest

import servers


@pytest.fixture(scope="module")
def site():
    server = servers.start_scripted("--context", "400")
    done = server.post("/site/setup", {"code": server.setup_code, "mode": "just_me"})
    server.cookie = re.match(r"nautile_session=(\w+);", done.headers["set-cookie"]).group(1)
    yield server
    server.stop()


def new_id():
    return secrets.token_hex(16)


class Chat:
    """A page's side of one conversation."""

    def __init__(self, site):
        self.site, self.id, self.path = site, new_id(), []

    def node(self, role, content, node_id=None):
        parent = self.path[-1]["id"] if self.path else None
        return {"id": node_id or new_id(), "parent": parent, "role": role, "content": content}

    def ask(self, content, **fields):
        self.path.append(self.node("user", content))
        return self.generate(**fields)

    def generate(self, key=None, answer=None, **fields):
        self.answer = answer or new_id()
        return self.site.post("/site/generations", {
            "key": key or new_id(), "conversation": self.id, "answer": self.answer,
            "model": "scripted", "path": self.path, **fields})


def follow(site, generation, after=0):
    connection, response = site.open_stream(
        "GET", f"/site/generations/{generation}/events?after={after}")
    with contextlib.closing(connection):
        assert response.status == 200
        return [frame for frame in servers.events(response) if "n" in frame]


def texts(frames, kind):
    return "".join(frame["text"] for frame in frames if frame["kind"] == kind)


def test_frames_are_numbered_merged_and_whole(site):
    chat = Chat(site)
    made = chat.ask("/script queue 2 for 0.2 s; think 20 at 200/s; stream 200 at 400/s")
    assert made.status == 202
    start = time.monotonic()
    frames = follow(site, made.json()["generation"])
    seconds = time.monotonic() - start
    assert [frame["n"] for frame in frames] == list(range(1, len(frames) + 1))
    assert len(frames) < 8 + 31 * seconds
    kinds = [frame["kind"] for frame in frames]
    assert kinds[0] == "queue" and kinds[-1] == "end"
    assert kinds.index("reasoning") < kinds.index("answer")
    assert frames[-1]["reason"] == "stop" and frames[-1]["usage"]["completion_tokens"] == 220
    stored = site.get(f"/site/conversations/{chat.id}").json()["messages"][1]
    assert stored["content"] == texts(frames, "answer")
    assert stored["reasoning"] == texts(frames, "reasoning")


def test_resumed_from_any_frame_nothing_is_lost_or_doubled(site):
    generation = Chat(site).ask("/script stream 120 at 300/s").json()["generation"]
    connection, response = site.open_stream("GET", f"/site/events?follow={generation}:0")
    seen = []
    with contextlib.closing(connection):
        for frame in servers.events(response):
            if "n" in frame:
                seen.append(frame)
            if len(seen) == 4:
                break
    rest = follow(site, generation, after=seen[-1]["n"])
    whole = follow(site, generation)
    assert seen + rest == whole


def test_a_retry_with_the_same_key_never_answers_twice(site):
    chat = Chat(site)
    chat.path.append(chat.node("user", "/script stream 10 at 100/s"))
    key, answer = new_id(), new_id()
    made = []
    threads = [threading.Thread(
        target=lambda: made.append(chat.generate(key=key, answer=answer).body)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 1
    follow(site, json.loads(made[0])["generation"])
    assert chat.generate(key=key, answer=answer).body == made[0]
    assert len(site.get(f"/site/conversations/{chat.id}").json()["messages"]) == 2


def test_stop_stops_the_compute(site):
    chat = Chat(site)
    generation = chat.ask("/script stream 5000 at 200/s").json()["generation"]
    connection, response = site.open_stream("GET", f"/site/events?follow={generation}:0")
    with contextlib.closing(connection):
        frames = servers.events(response)
        next(frame for frame in frames if frame.get("kind") == "answer")
        assert site.request("DELETE", f"/site/generations/{generation}").status == 204
        end = next(frame for frame in frames if frame.get("kind") == "end")
        assert end["reason"] == "cancelled"
    assert site.metric("vllm:num_requests_running") == 0


def test_answer_now_ends_the_thinking(site):
    generation = Chat(site).ask("/script think 5000 at 50/s; stream 5 at 100/s"
                                ).json()["generation"]
    connection, response = site.open_stream("GET", f"/site/events?follow={generation}:0")
    with contextlib.closing(connection):
        frames = servers.events(response)
        next(frame for frame in frames if frame.get("kind") == "reasoning")
        assert site.post(f"/site/generations/{generation}/answer", None).status == 204
        kinds = []
        for frame in frames:
            kinds.append(frame["kind"])
            if frame["kind"] == "end":
                break
        assert "answer" in kinds and frame["usage"]["reasoning_tokens"] < 1000


def test_an_answer_goes_on_when_nobody_watches_and_survives_in_memory(site):
    chat = Chat(site)
    generation = chat.ask("/script stream 30 at 200/s").json()["generation"]
    connection, response = site.open_stream("GET", f"/site/events?follow={generation}:0")
    next(servers.events(response))
    connection.close()
    frames = follow(site, generation)
    assert frames[-1]["reason"] == "stop" and frames[-1]["usage"]["completion_tokens"] == 30


def test_a_full_context_says_how_much_and_cuts_nothing(site):
    chat = Chat(site)
    for i in range(3):
        frames = follow(site, chat.ask("/script stream 2 at 500/s").json()["generation"])
        chat.path.append(chat.node("assistant", texts(frames, "answer"), chat.answer))
    refused = chat.ask("/script context 120")
    assert refused.status == 413
    body = refused.json()
    assert body["reason"] == "context" and body["context_tokens"] == 400
    assert body["tokens_over"] > 0 and body["drop_exchanges"] == 1
    # The page leaves the oldest exchange out, exactly.
    chat.path = chat.path[2 * body["drop_exchanges"]:]
    accepted = chat.generate()
    assert accepted.status == 202, accepted.body
    follow(site, accepted.json()["generation"])


def test_the_engine_dies_and_the_answer_is_continued():
    site = servers.start_scripted()
    try:
        done = site.post("/site/setup", {"code": site.setup_code, "mode": "just_me"})
        site.cookie = re.match(r"nautile_session=(\w+);", done.headers["set-cookie"]).group(1)
        chat = Chat(site)
        frames = follow(site, chat.ask("/script stream 5 at 200/s; die").json()["generation"])
        assert frames[-1]["reason"] == "engine_died" and frames[-1]["error"]["message"]
        refused = chat.generate()
        assert refused.status == 503 and refused.json()["reason"] == "engine"
        assert int(refused.headers["retry-after"]) >= 1
        servers.wait_for_model(site)
        answer = site.get(f"/site/conversations/{chat.id}").json()["messages"][1]
        chat.path.append({"id": answer["id"], "parent": answer["parent"], "role": "assistant",
                          "content": answer["content"]})
        chat.path[0]["content"] = "/script stream 3 at 200/s"
        more = follow(site, chat.generate(answer=answer["id"]).json()["generation"])
        stored = site.get(f"/site/conversations/{chat.id}").json()["messages"]
        assert len(stored) == 2
        assert stored[1]["content"] == answer["content"] + texts(more, "answer")
    finally:
        site.stop()


def test_a_public_stream_says_where_it_waits(scripted):
    connection, response = scripted.open_stream("POST", "/v1/chat/completions", {
        "model": "scripted", "stream": True,
        "messages": [{"role": "user", "content": "/script queue 3 for 6 s; stream 2 at 100/s"}]})
    with contextlib.closing(connection):
        assert response.status == 200 and response.getheader("x-queue-position") == "3"
        assert response.getheader("x-accel-buffering") == "no"
        seen = list(servers.events(response))
    comments = [one for one in seen if isinstance(one, str) and one.startswith(":")]
    assert re.match(r": keep-alive position=\d wait_ms=\d+-\d+", comments[0])
    assert seen[-1] == "[DONE]"


def test_a_client_that_hangs_up_stops_the_compute(scripted):
    for stream in (True, False):
        connection, response = None, None
        before = scripted.metric("vllm:num_requests_running")
        body = {"model": "scripted", "stream": stream,
                "messages": [{"role": "user", "content": "/script stream 5000 at 100/s"}]}
        if stream:
            connection, response = scripted.open_stream("POST", "/v1/chat/completions", body)
            next(servers.events(response))
        else:
            connection = http.client.HTTPConnection("127.0.0.1", scripted.port, timeout=10)
            connection.request("POST", "/v1/chat/completions", json.dumps(body),
                               scripted.headers())
            wait_until(lambda: scripted.metric("vllm:num_requests_running") > before)
        connection.close()
        wait_until(lambda: scripted.metric("vllm:num_requests_running") == before)


def wait_until(condition, seconds=5):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        threading.Event().wait(0.02)


def test_lost_in_mid_stream_is_an_error_frame(scripted):
    connection, response = scripted.open_stream("POST", "/v1/chat/completions", {
        "model": "scripted", "stream": True,
        "messages": [{"role": "user", "content": "/script stream 2 at 100/s; fail"}]})
    with contextlib.closing(connection):
        seen = list(servers.events(response))
    assert set(seen[-1]) == {"error"} and seen[-1]["error"]["type"] == "server_error"
    refused = scripted.chat("/script refuse")
    assert refused.status == 503 and refused.headers["retry-after"]
