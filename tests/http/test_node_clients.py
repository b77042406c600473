"""The npm clients (openai, @ai-sdk/deepseek with ai, @langchain/deepseek), unchanged."""
import json
import pathlib
import subprocess

import pytest

FOLDER = pathlib.Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def cases(server, scripted):
    done = subprocess.run(
        ["node", "node_clients.mjs", server.url, server.key, server.model, scripted.url,
         scripted.key],
        cwd=FOLDER, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    return {line["case"]: line for line in map(json.loads, done.stdout.splitlines())}


def value(cases, name):
    assert "value" in cases[name], cases[name]
    return cases[name]["value"]


def error(cases, name):
    assert "error" in cases[name], cases[name]
    return cases[name]["error"]


def test_openai_chat_and_stream(cases):
    plain, stream = value(cases, "openai chat"), value(cases, "openai stream")
    assert stream["text"] == plain["choices"][0]["message"]["content"] != ""
    assert stream["finish"] == plain["choices"][0]["finish_reason"]
    assert stream["usage"]["total_tokens"] == plain["usage"]["total_tokens"] > 0


def test_openai_seed_logprobs_stop_models(cases, server):
    first, second = value(cases, "openai seed")
    assert first == second != ""
    tokens = value(cases, "openai logprobs")
    assert tokens and all(len(t["top_logprobs"]) == 2 and t["logprob"] <= 0 for t in tokens)
    stop = value(cases, "openai stop")
    assert stop["got"] == stop["expected"]
    assert server.model in value(cases, "openai models")


def test_openai_completion(cases):
    choice = value(cases, "openai completion")["choices"][0]
    assert choice["text"].startswith("One two")
    assert choice["logprobs"]["token_logprobs"][0] is None


def test_openai_errors(cases):
    assert error(cases, "openai bad key")["status"] == 401
    bad = error(cases, "openai bad value")
    assert (bad["status"], bad["param"]) == (422, "temperature")
    tools = error(cases, "openai tools")
    assert (tools["status"], tools["param"]) == (400, "tools")
    assert error(cases, "openai lost")["message"]


def test_an_aborted_stream_stops_the_compute(cases, scripted):
    assert value(cases, "openai aborted") == 5
    assert scripted.metric("vllm:num_requests_running") == 0


def test_ai_sdk(cases):
    plain, stream = value(cases, "ai-sdk generate"), value(cases, "ai-sdk stream")
    assert stream["text"] == plain["text"] != ""
    assert stream["usage"]["totalTokens"] == plain["usage"]["totalTokens"] > 0
    assert stream["finish"] == plain["finish"] in ("stop", "length")
    thought = value(cases, "ai-sdk reasoning")
    assert thought["reasoning"] and thought["text"]
    assert error(cases, "ai-sdk bad key")["status"] == 401


def test_langchain(cases):
    answer = value(cases, "langchain invoke")
    assert answer["text"] and answer["usage"]["output_tokens"] > 0
    stream = value(cases, "langchain stream")
    assert stream["text"] == stream["plain"] != ""
    thought = value(cases, "langchain reasoning")
    assert thought["reasoning"] and thought["text"]
    assert error(cases, "langchain bad key")["status"] == 401
