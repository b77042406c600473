"""The keeper of pictures and its children while the server answers: sealed, killed, fed with what
is no picture. A tiny Janus sees; its words mean nothing, so only their coming is judged."""
import base64
import json
import os
import pathlib
import signal
import struct
import threading
import zlib

import pytest
from processes import alive, children, open_files
from program import SLOW, Program, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
JANUS = ROOT / "tests" / "golden" / "model" / "janus-hf"
HOSTILE = ROOT / "tests" / "golden" / "hostile"
RESTART_S = 2 * SLOW


def white_png(width, height):
    """One bit a pixel: a large picture in a small file."""
    def chunk(name, data):
        return (struct.pack(">I", len(data)) + name + data
                + struct.pack(">I", zlib.crc32(name + data)))
    packer = zlib.compressobj(1)
    row = b"\0" + b"\xff" * ((width + 7) // 8)
    rows = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows)
            + chunk(b"IEND", b""))


def ask(program, picture, timeout=60):
    """(status, body as JSON) of a question about a picture."""
    url = "data:image/png;base64," + base64.b64encode(picture).decode()
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "what?"}]
    body = {"model": JANUS.name, "max_tokens": 2, "temperature": 0,
            "messages": [{"role": "user", "content": content}]}
    status, _, answer = program.get("/v1/chat/completions", {"Content-Type": "application/json"},
                                    "POST", json.dumps(body), timeout)
    return status, json.loads(answer)


def other_than(program, pid):
    now = program.pid("pictures")
    return now if now not in (0, pid) and alive(now) else None


@pytest.fixture(scope="module")
def janus():
    server = Program("--model", str(JANUS))
    wait_until(lambda: ask(server, SMALL)[0] == 200, 60, "a first answer about a picture")
    yield server
    server.close()


SMALL = white_png(20, 20)
SLOW_PICTURE = white_png(7900, 7900)  # a good part of a second to read


def test_the_keeper_is_sealed(janus):
    running = janus.running()["pictures"]
    status = pathlib.Path(f"/proc/{running['pid']}/status").read_text()
    assert "\nSeccomp:\t2\n" in status and "\nNoNewPrivs:\t1\n" in status
    assert "\nThreads:\t1\n" in status
    if running["seal"]["network_namespace"] and os.geteuid() == 0:
        assert os.readlink(f"/proc/{running['pid']}/ns/net") != os.readlink("/proc/self/ns/net")
    sockets = [file for file in open_files(running["pid"]) if file.startswith("socket:")]
    assert len(sockets) == 1  # to the engine


def test_a_killed_keeper_costs_one_question(janus):
    engine = janus.pid("engine")
    for _ in range(3):
        keeper = janus.pid("pictures")
        os.kill(keeper, signal.SIGKILL)
        # Asked while there is none, or while the next one starts: read by that one.
        status, answer = ask(janus, SMALL)
        assert status in (200, 503), answer
        if status == 503:
            assert "error" in answer
        wait_until(lambda: other_than(janus, keeper), RESTART_S, "another keeper")
        status, answer = ask(janus, SMALL)
        assert status == 200, answer
    assert janus.pid("engine") == engine


def test_a_killed_child_costs_one_question(janus):
    keeper, engine = janus.pid("pictures"), janus.pid("engine")
    for _ in range(20):
        outcome = []
        thread = threading.Thread(target=lambda: outcome.append(ask(janus, SLOW_PICTURE)))
        thread.start()
        found = []
        wait_until(lambda: found.extend(children(keeper)) or found or outcome, 60, "a child")
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        thread.join()
        status, answer = outcome[0]
        if status != 200:  # else it had ended by itself
            break
    assert status == 503 and "Try again" in answer["error"]["message"], answer
    assert ask(janus, SMALL)[0] == 200
    assert janus.pid("pictures") == keeper and janus.pid("engine") == engine
    assert not children(keeper)


def test_what_is_no_picture_is_refused(janus):
    keeper = janus.pid("pictures")
    for name in ("disguise/svg_script.png", "disguise/gif.png", "png/crc_idat.png",
                 "png/size_65536_wraps.png", "jpeg/huge_65500.jpg", "jpeg/soi_eoi.jpg",
                 "webp/lossless_16384.webp", "webp/animated.webp"):
        status, answer = ask(janus, (HOSTILE / name).read_bytes())
        assert status == 400, (name, answer)
        assert "PNG, JPEG or WebP" in answer["error"]["message"], (name, answer)
    assert ask(janus, SMALL)[0] == 200
    assert janus.pid("pictures") == keeper


def test_the_engines_death_brings_another_keeper(janus):
    keeper, engine = janus.pid("pictures"), janus.pid("engine")
    os.kill(engine, signal.SIGKILL)
    wait_until(lambda: other_than(janus, keeper), RESTART_S, "another keeper")
    assert not alive(keeper)
    wait_until(lambda: ask(janus, SMALL)[0] == 200, 30, "seeing again")
