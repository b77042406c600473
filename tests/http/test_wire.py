"""The wire itself: credentials, names, headers, documents, metrics."""
import http.client
import re
import socket

import pytest

import servers

METRICS_ASKED_MAX = 1000  # each is a request and its answer


def test_no_route_answers_without_credentials(server):
    document = server.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1") and len(document["paths"]) > 20
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if not operation["security"]:
                continue
            answer = server.request(method.upper(), path.replace("{", "").replace("}", ""), "{}",
                                    Authorization=None, Cookie=None)
            assert answer.status == 401, (method, path)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1:1",
                                  "localhost.evil.example:{port}"])
def test_foreign_names_are_refused(server, host):
    assert server.get("/health", Host=host.format(port=server.port)).status == 403


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Origin": "null"},
                                     {"Sec_Fetch_Site": "cross-site"},
                                     {"Sec_Fetch_Site": "same-site"}])
def test_other_sites_are_refused(server, headers):
    for path in ("/v1/chat/completions", "/site/setup"):
        answer = server.post(path, {}, **headers)
        assert answer.status == 403
        assert not any(name.startswith("access-control") for name in answer.headers)


def test_every_answer_carries_the_security_headers(server):
    for path in ("/", "/health", "/v1/models", "/nowhere", "/site/session", "/openapi.json"):
        headers = server.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cross-origin-opener-policy"] == "same-origin"


def test_error_pages_are_small_and_without_script(server):
    answer = server.get("/nowhere", Accept="text/html")
    assert answer.status == 404 and len(answer.body) <= 4096
    assert b"<script" not in answer.body and b"<h1>" in answer.body


def sentence(answer):
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert re.match(r"[A-Z]", error["message"]), error
    return error


def test_every_refusal_is_a_sentence_in_the_same_envelope(server):
    chat = {"model": server.model, "messages": [{"role": "user", "content": "hi"}]}
    refused = {
        server.post("/v1/chat/completions", dict(chat, **fields)): status for status, fields in [
            (422, {"temperature": 9}), (400, {"temperature": "x"}), (400, {"frobnicate": 1}),
            (400, {"tools": [{}]}), (400, {"messages": None}), (422, {"messages": []}),
            (400, {"max_tokens": 1, "max_completion_tokens": 2}), (404, {"model": "gpt-4"}),
            (400, {"top_logprobs": 3}), (422, {"reasoning_effort": "heroic"}),
            (400, {"messages": [{"role": "user", "content": "word " * 300_000}]})]}
    refused[server.post("/v1/chat/completions", "{")] = 400
    refused[server.post("/v1/chat/completions", "a=b", Content_Type="text/plain")] = 415
    refused[server.post("/v1/chat/completions", chat, Authorization=None)] = 401
    refused[server.get("/v1/models", Host="evil.example")] = 403
    refused[server.post("/v1/models", {})] = 405
    refused[server.get("/nowhere")] = 404
    for answer, status in refused.items():
        assert answer.status == status, answer.body[:500]
        sentence(answer)


def test_what_net_refuses_has_the_same_envelope(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
                       f"Content-Length: {9 << 20}\r\n\r\n".encode())  # it is not waited for
        response = http.client.HTTPResponse(client)
        response.begin()
        large = servers.Answer(response)
    assert large.status == 413 and large.json()["bytes_max"] == 8 << 20
    assert sentence(large)["code"] == "request_too_large"
    assert large.headers["content-type"].startswith("application/json")
    long = server.get("/v1/models", X_Long="x" * 20_000)
    assert long.status == 431 and long.json()["error"]["code"] == "header_too_large"
    target = server.get("/" + "x" * 5_000)
    assert target.status == 414
    method = server.request("brew", "/health")
    assert method.status == 400
    for answer in (long, target, method):
        sentence(answer)


@pytest.mark.real_engine
def test_a_short_name_of_the_model_is_enough(server):
    for name in (server.model.lower(), server.model.upper(), server.model[:7].lower()):
        answer = server.chat("Say hi.", max_tokens=2, model=name)
        assert answer.status == 200 and answer.json()["model"] == server.model, name
        assert server.get(f"/v1/models/{name}").json()["id"] == server.model
    assert server.chat("Say hi.", max_tokens=2, model=server.model[2:]).status == 404


def test_a_model_that_cannot_be_used_is_named_with_its_reason():
    server = servers.start_scripted("--unusable")
    try:
        health = server.get("/health")
        assert health.status == 503 and health.json()["error"]["code"] == "no_usable_model"
        assert "notes.gguf is no GGUF file" in sentence(health)["message"]
        asked = server.chat("hi")
        assert asked.status == 404 and "notes.gguf is no GGUF file" in sentence(asked)["message"]
    finally:
        server.stop()


def test_metrics_have_the_names_that_dashboards_know(server):
    before = server.metric("vllm:generation_tokens_total")
    used = server.chat("Say hi.", max_tokens=4).json()["usage"]["completion_tokens"]
    text = server.get("/metrics").body.decode()
    # The numbers come in the engine's next message after the answer's end.
    for _ in range(METRICS_ASKED_MAX):
        if server.metric("vllm:generation_tokens_total") >= before + used - 1:
            break
    else:
        raise AssertionError("the tokens of the answer are not counted")
    for name in ("vllm:num_requests_running", "vllm:num_requests_waiting",
                 "vllm:kv_cache_usage_perc", "vllm:prefix_cache_hits_total",
                 "vllm:time_to_first_token_seconds_bucket", "vllm:e2e_request_latency_seconds_sum"):
        assert re.search(rf"^{name}\{{", text, re.M), name
    for line in text.splitlines():
        assert line.startswith("# ") or re.fullmatch(r"[a-z0-9_:]+(\{.*\})? [-+.0-9e]+", line), line


def test_setup_is_for_the_first_one_only():
    server = servers.start_scripted()
    try:
        assert server.get("/site/session").json()["state"] == "setup"
        wrong = [server.post("/site/setup", {"code": "0000-0000", "mode": "just_me"}).status
                 for _ in range(6)]
        assert wrong == [403] * 5 + [429]
    finally:
        server.stop()
    server = servers.start_scripted()
    try:
        code = server.setup_code.replace("-", " ").lower()
        done = server.post("/site/setup", {"code": code, "mode": "just_me"})
        assert done.status == 200
        cookie = done.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/" in cookie
        assert server.get("/setup").status == 404
        assert server.post("/site/setup", {"code": code, "mode": "just_me"}).status == 404
        assert server.post("/site/signin", {"code": code}).status == 403
        assert server.get("/site/session").json()["state"] == "signin"
        server.cookie = re.match(r"nautile_session=([0-9a-f]{64});", cookie).group(1)
        assert server.get("/site/session").json()["state"] == "ready"
        assert server.post("/site/signout", None).status == 204
        assert server.get("/site/conversations").status == 401
    finally:
        server.stop()
