"""2,000 slow headers and 500 slow readers, from the member's own address: nothing of the member's
fails, answers begin as soon as before, and the memory comes back."""
import json
import pathlib
import select
import statistics
import subprocess
import sys
import time

from processes import cpu_seconds, resident_bytes
from program import SLOW, wait_until

HEADERS, READERS = 2000, 500
# The starter's time to first token is a few milliseconds, in which a scheduler's tick counts.
JITTER_S = 0.030 * SLOW
MIB = 1 << 20


def first_tokens(program, seconds):
    times, end = [], time.monotonic() + seconds
    while time.monotonic() < end or len(times) < 5:
        answer = program.answer(tokens=8)
        assert answer is not None and answer[0] is not None, "a member's answer failed"
        times.append(answer[0])
        status, _, _ = program.get("/health")
        assert status == 200
    return times


def test_members_go_on(program, request):
    seconds = 60 if request.config.getoption("--long") else 10
    first_tokens(program, 1)  # warm
    calm = first_tokens(program, 4)
    gate = program.pid("gate")
    before = resident_bytes(gate)
    attacker = subprocess.Popen(
        [sys.executable, str(pathlib.Path(__file__).with_name("slow_clients.py")),
         str(program.port), str(HEADERS), str(READERS)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert select.select([attacker.stdout], [], [], 60 * SLOW)[0], "the attack did not begin"
        assert attacker.stdout.readline().strip() == "all are in"
        cpu, start = cpu_seconds(gate), time.monotonic()
        attacked = first_tokens(program, seconds)
        share = (cpu_seconds(gate) - cpu) / (time.monotonic() - start)
        most = resident_bytes(gate)
    finally:
        attacker.stdin.close()
        outcome = json.loads(attacker.stdout.readline())
        attacker.wait(30)
    assert outcome["held"] + outcome["lost"] > 500, outcome
    # Calm before and after: on a machine that does other work, the slower of the two is its pace.
    calm_after = first_tokens(program, 4)
    calm_s = max(statistics.median(calm), statistics.median(calm_after))
    attacked_s = statistics.median(attacked)
    print(f"first token: calm {calm_s * 1e3:.1f} ms, attacked {attacked_s * 1e3:.1f} ms, "
          f"{len(attacked)} answers; gate {before / MIB:.1f} MiB, then {most / MIB:.1f} MiB; "
          f"gate {100 * share:.0f} % of a core; attacker {outcome}")
    if request.config.getoption("--long"):  # a measurement, for a quiet machine
        assert attacked_s <= 1.5 * calm_s + JITTER_S
    assert share <= 0.3  # what is left belongs to the answers
    assert most - before <= 64 * MIB
    wait_until(lambda: resident_bytes(gate) - before <= 8 * MIB, 15, "giving the memory back")
    assert program.pid("gate") == gate


def test_a_slow_header_and_a_slow_body_are_ended(program):
    slow = program.raw(timeout=8)
    slow.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    body = program.raw(timeout=8)
    body.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                 b"Content-Length: 100000\r\n\r\n{")
    start = time.monotonic()
    assert b" 408 " in slow.recv(4096)
    assert b" 408 " in body.recv(4096)
    assert time.monotonic() - start < 7
