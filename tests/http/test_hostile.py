"""Every request of the hostile corpus (tests/golden/hostile), and after each one an ordinary
request that must be answered as if nothing had happened."""
import json
import pathlib
import socket
import subprocess
import sys

import pytest

CORPUS = pathlib.Path(__file__).resolve().parents[1] / "golden" / "hostile"
LINES = [line for line in json.loads((CORPUS / "manifest.json").read_text())
         if line["kind"] == "request" and not line.get("heavy")]
CPU_SECONDS_MAX = 1.0  # of the program's work: a busy machine does not lengthen it
SHOWN_BYTES_MAX = 2000  # an error never repeats in full what was sent


@pytest.fixture(scope="session")
def bodies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    subprocess.run([sys.executable, str(CORPUS / "expand.py"), str(folder), "--kind", "request"],
                   check=True, capture_output=True)
    return folder


def test_the_corpus_is_there():
    assert len(LINES) > 80


@pytest.mark.parametrize("line", LINES, ids=lambda line: pathlib.Path(line["file"]).stem)
def test_request(server, bodies, line):
    body = (bodies / line["file"]).read_bytes().replace(b"@MODEL@", server.model.encode())
    path = line.get("path", "/v1/chat/completions")
    before = server.cpu_seconds()
    answer = server.post(path, body, timeout=20)
    seconds = server.cpu_seconds() - before
    assert answer.status in line["status"], answer.body[:SHOWN_BYTES_MAX]
    if answer.status >= 400:
        assert seconds < line.get("max_seconds", CPU_SECONDS_MAX)
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert len(answer.body) < SHOWN_BYTES_MAX
        assert not any("\n" in value for value in answer.headers.values())
    else:
        json.loads(answer.body)
    ordinary = server.chat("Say hi.", max_tokens=2)
    assert ordinary.status == 200 and ordinary.json()["choices"]


def test_a_body_of_200_megabytes_is_refused_before_it_is_read(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        head = (f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
                f"Authorization: Bearer {server.key}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {200 << 20}\r\n\r\n")
        client.sendall(head.encode())  # and nothing more: who waits for the body gets no answer
        status = client.recv(64)
        assert status.startswith(b"HTTP/1.1 413 "), status
    assert server.chat("Say hi.", max_tokens=2).status == 200
