"""kill -9 at random moments: the file is right, and no more than 5 % of it is fetched twice.

The tier kills a 64 MB download five times; `--long` a gigabyte twenty times."""
import json
import os
import random
import signal
import threading

from hub_server import REPO, sha256

NAME = "R1-Q4_K_M.gguf"


def make_data(size):
    block = random.Random(9).randbytes(1 << 20)
    return b"".join(number.to_bytes(8, "little") + block[8:]
                    for number in range(size >> 20)) + block[:size & ((1 << 20) - 1)]


def run_killed(home, hub, size, kills, seed):
    """Kills when the hub has sent so and so many bytes; the moments are drawn in advance."""
    draw = random.Random(seed)
    moments = sorted(draw.randrange(size // 50, size * 19 // 20) for _ in range(kills))
    killed = 0
    for moment in moments:
        reached = threading.Event()
        hub.before = lambda request: hub.file_bytes_sent >= moment and reached.set()
        process = home.start("pull", f"hf:{REPO}")
        while not reached.wait(0.01) and process.poll() is None:
            pass
        if process.poll() is None:
            killed += 1
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (home.models / NAME).exists()
    hub.before = lambda request: None
    return killed


def test_killed_at_random(home, make_hub, size, kills):
    data = make_data(size)
    hub = make_hub({NAME: data})
    home.endpoint = hub.url
    seed = int(os.environ.get("NAUTILE_SEED", random.randrange(10**6)))
    killed = run_killed(home, hub, size, kills, seed)
    done = home.pull(f"hf:{REPO}", "--json")
    ratio = hub.file_bytes_sent / size
    print(f"seed {seed}: {killed} kills, {ratio:.4f} times fetched")
    assert done.returncode == 0, done.stderr
    assert killed == kills, seed
    assert ratio <= 1.05, seed
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["files"][0]["sha256"] == sha256(data)
    assert sha256((home.models / NAME).read_bytes()) == sha256(data)
    assert home.leftovers() == []
