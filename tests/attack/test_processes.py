"""Processes that are killed, stopped, idle; what they listen on."""
import json
import os
import pathlib
import signal
import subprocess
import time

from processes import alive, cpu_seconds, open_files
from program import BINARY, SLOW, Program, wait_until

RESTART_S = 2 * SLOW


def first_event(stream):
    for _, data in stream:
        event = json.loads(data)
        if any(c.get("delta", {}).get("content") for c in event.get("choices", [])):
            return
    raise AssertionError("the stream ended before its first word")


def test_a_killed_engine(own_program):
    program = own_program
    gate, engine = program.pid("gate"), program.pid("engine")
    stream = program.stream(tokens=2000, prompt="Write a very long story about the sea.")
    first_event(stream)
    os.kill(engine, signal.SIGKILL)
    killed = time.monotonic()
    rest = [data for _, data in stream]
    assert rest and "error" in json.loads(rest[-1]), rest[-3:]
    assert "[DONE]" not in rest
    assert program.get("/health")[0] in (200, 503) and program.pid("gate") == gate
    # 2 s, and the time that reading the file takes: the starter's is in the page cache.
    wait_until(lambda: program.answer(tokens=4), RESTART_S + 1, "answering again")
    print(f"answered {time.monotonic() - killed:.2f} s after the engine was killed")
    assert program.pid("engine") not in (0, engine) and program.pid("gate") == gate
    # The log names the process; what is usual stands in it only where it was asked for.
    log = (program.home / "stderr").read_text()
    assert f"warning process.exited pid={engine} signal=9" in log and "process.started" not in log


def test_the_log_says_as_much_as_it_was_told():
    program = Program("--log-level", "info")
    try:
        processes = [program.pid(process) for process in ("gate", "engine")]
        log = (program.home / "stderr").read_text()
        for pid in processes:
            assert f"info process.started pid={pid}" in log
    finally:
        program.close()


def test_a_killed_gate_keeps_sessions(own_program):
    program = own_program
    body = json.dumps({"code": program.code, "mode": "just_me"})
    status, headers, answer = program.get(
        "/site/setup", {"Content-Type": "application/json",
                        "Origin": f"http://127.0.0.1:{program.port}"}, "POST", body)
    assert status == 200, answer
    cookie = headers.get("set-cookie", headers.get("Set-Cookie", "")).split(";")[0]
    assert cookie.startswith("nautile_session=")

    def state():
        try:
            status, _, answer = program.get("/site/session", {"Cookie": cookie})
        except OSError:
            return None
        return json.loads(answer)["state"] if status == 200 else None

    assert state() == "ready"
    gate = program.pid("gate")
    os.kill(gate, signal.SIGKILL)
    killed = time.monotonic()
    assert wait_until(state, RESTART_S, "serving again") == "ready"
    print(f"session valid {time.monotonic() - killed:.2f} s after the gate was killed")
    # The supervisor writes the new process down a moment after it serves.
    wait_until(lambda: program.pid("gate") not in (0, gate), RESTART_S, "a new gate")
    wait_until(lambda: program.answer(tokens=4), RESTART_S + 1, "answering again")
    mode = (program.home / "state" / "sessions.json").stat().st_mode
    assert mode & 0o777 == 0o600


def test_again_and_again(own_program):
    for name in ("engine", "gate", "engine", "gate"):
        os.kill(own_program.pid(name), signal.SIGKILL)
        wait_until(lambda: own_program.answer(tokens=2), 10 * SLOW, f"recovering from {name}")


def test_the_supervisors_death_ends_all(own_program):
    program = own_program
    pids = [program.pid("gate"), program.pid("engine")]
    port = program.port
    program.process.kill()
    program.process.wait()
    wait_until(lambda: not any(alive(pid) for pid in pids), 5, "the children's end")
    program.start(port)  # port and lock are free at once
    wait_until(lambda: program.answer(tokens=2), 30, "serving again")


def test_a_clean_stop(own_program):
    program = own_program
    pids = [program.pid("gate"), program.pid("engine")]
    stream = program.stream(tokens=2000, prompt="Write a very long story about the sea.")
    first_event(stream)
    program.process.send_signal(signal.SIGINT)
    rest = [data for _, data in stream]
    assert "error" in json.loads(rest[-1]), rest[-3:]
    assert program.process.wait(8) == 0
    assert not any(alive(pid) for pid in pids)
    assert not (program.home / "running.json").exists()


def test_two_servers_do_not_share_a_directory(program):
    env = dict(os.environ, NAUTILE_HOME=str(program.home), LC_ALL="C")
    second = subprocess.run([BINARY, "serve", "--listen", "127.0.0.1:0"], env=env, text=True,
                            capture_output=True, timeout=30)
    assert second.returncode == 5 and "already running" in second.stderr
    outside = subprocess.run([BINARY, "serve", "--listen", "0.0.0.0:0"],
                             env=dict(env, NAUTILE_HOME=str(program.home / "other")), text=True,
                             capture_output=True, timeout=30)
    assert outside.returncode == 3 and "TLS" in outside.stderr


def test_idle_costs_nothing(program):
    pids = [program.process.pid, program.pid("gate"), program.pid("engine")]
    program.answer(tokens=4)
    seconds = 6
    before = [cpu_seconds(pid) for pid in pids]
    program.raw(timeout=seconds + 5).close()
    end = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= end, seconds + 1, "the clock")
    used = sum(cpu_seconds(pid) for pid in pids) - sum(before)
    print(f"idle: {100 * used / seconds:.2f} % of a core")
    assert used <= 0.005 * seconds + 0.01  # /proc counts in hundredths of a second


def test_one_port_listens(program):
    inodes = {}
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A":
            inodes[fields[9]] = int(fields[1].split(":")[1], 16)
    ports = set()
    for name in ("gate", "engine", "supervisor"):
        for file in open_files(program.pid(name)):
            inode = file.removeprefix("socket:[").removesuffix("]")
            if inode in inodes:
                ports.add(inodes[inode])
    assert ports == {program.port}


def test_secrets_are_nowhere_to_be_read(program):
    for name in ("gate", "engine"):
        where = pathlib.Path(f"/proc/{program.pid(name)}")
        for file in ("cmdline", "environ"):
            try:
                text = (where / file).read_bytes()
            except PermissionError:
                continue  # better still
            assert program.key.encode() not in text and program.code.encode() not in text
    assert (program.home / "api-key").stat().st_mode & 0o777 == 0o600
    assert (program.home / "state").stat().st_mode & 0o777 == 0o700
