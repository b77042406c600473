"""Proof 3 of the privacy promise with the program itself: sealed, every way out is refused;
unsealed, the same attempts succeed."""
import json
import os
import socket
import subprocess

import pytest

from program import BINARY


def attack(tmp_path, *flags):
    listener = socket.create_server(("127.0.0.1", 0), backlog=16)
    local = socket.socket(socket.AF_UNIX)
    local.bind(str(tmp_path / f"s{len(flags)}"))
    local.listen(16)
    (tmp_path / "foreign").write_text("x")
    out = subprocess.run(
        [BINARY, "internal-attack", "--tcp-port", str(listener.getsockname()[1]), "--unix",
         str(tmp_path / f"s{len(flags)}"), "--file", str(tmp_path / "foreign"), "--directory",
         str(tmp_path), *flags], capture_output=True, text=True, timeout=60, check=True)
    return json.loads(out.stdout)


def test_unsealed_they_succeed(tmp_path):
    outcome = attack(tmp_path)
    tried = {a["name"]: a for a in outcome["attacks"]}
    for name in ("tcp connect", "udp datagram", "unix connect", "netlink socket", "socketpair",
                 "execve", "read a foreign file", "write a foreign file"):
        assert not tried[name]["refused"], tried[name]


@pytest.mark.parametrize("abi", ["1000", "2"])
def test_sealed_each_is_refused(tmp_path, abi):
    outcome = attack(tmp_path, "--sealed", "--landlock-abi", abi)
    if outcome["seal"]["layers"] < 3:  # the others hold alone, and the seal says what is missing
        assert len(outcome["seal"]["missing"]) == 3 - outcome["seal"]["layers"]
    assert len(outcome["attacks"]) >= 26
    names = [a["name"] for a in outcome["attacks"] if not a["refused"]]
    if outcome["seal"]["landlock_abi"] == 0:  # files are its part alone
        names = [name for name in names if not name.endswith("a foreign file")]
    assert names == []


def test_doctor_says_so(program):
    env = dict(os.environ, NAUTILE_HOME=str(program.home))
    out = subprocess.run([BINARY, "doctor", "--privacy", "--json"], env=env, capture_output=True,
                         text=True, timeout=60)
    report = json.loads(out.stdout)
    checks = {c["name"]: c for c in report["checks"]}
    assert report["good"] and out.returncode == 0, report
    assert checks["self-attack"]["state"] == "good"
    assert "Seccomp 2" in checks["gate"]["detail"] and "Seccomp 2" in checks["engine"]["detail"]
    plain = subprocess.run([BINARY, "doctor", "--listen", f"127.0.0.1:{program.port}"], env=env,
                           capture_output=True, text=True, timeout=60)
    assert plain.returncode == 0, plain.stdout
    for word in ("processor", "memory", "disk", "huge pages", "port", "clock", "confinement",
                 "SmolLM2"):
        assert word in plain.stdout


def test_both_processes_are_sealed(program):
    running = program.running()
    for name in ("gate", "engine"):
        status = open(f"/proc/{running[name]['pid']}/status").read()
        assert "\nSeccomp:\t2\n" in status and "\nNoNewPrivs:\t1\n" in status
        if running[name]["seal"]["network_namespace"] and os.geteuid() == 0:
            assert os.readlink(f"/proc/{running[name]['pid']}/ns/net") != \
                os.readlink("/proc/self/ns/net")
