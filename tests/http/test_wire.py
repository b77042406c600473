"""The wire itself: credentials, names, headers, documents, metrics."""
import re

import pytest


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


def test_metrics_have_the_names_that_dashboards_know(server):
    before = server.metric("vllm:generation_tokens_total")
    used = server.chat("Say hi.", max_tokens=4).json()["usage"]["completion_tokens"]
    text = server.get("/metrics").body.decode()
    assert server.metric("vllm:generation_tokens_total") >= before + used - 1
    for name in ("vllm:num_requests_running", "vllm:num_requests_waiting",
                 "vllm:kv_cache_usage_perc", "vllm:prefix_cache_hits_total",
                 "vllm:time_to_first_token_seconds_bucket", "vllm:e2e_request_latency_seconds_sum"):
        assert re.search(rf"^{name}\{{", text, re.M), name
    for line in text.splitlines():
        assert line.startswith("# ") or re.fullmatch(r"[a-z0-9_:]+(\{.*\})? [-+.0-9e]+", line), line


def test_setup_is_for_the_first_one_only():
    import servers
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
