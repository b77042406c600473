"""A served Janus of the 1B shape for the measurements beside this file: makes the synthetic model,
starts `nautile serve` with it on loopback, and asks it over HTTP, as clients do."""
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "build" / "release"
os.environ.setdefault("NAUTILE", str(BUILD / "nautile"))
sys.path.insert(0, str(ROOT / "tests" / "http"))
import servers  # noqa: E402

# Whoever is told to end stops its server first: `finally` runs.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

PROMPT = "a lighthouse on a cliff above a stormy sea, oil on canvas"
CODES = 576


def synthetic(kind):
    path = BUILD / f"janus-pro-1b-shape.{kind}.gguf"
    if not path.exists():
        partial = f"{path}.partial"
        subprocess.run([str(BUILD / "synth_gguf"), "janus-pro-1b", kind.upper(), partial],
                       check=True)
        os.replace(partial, path)
    return path


def start(model, folder, *arguments):
    """A server; its first picture also makes the palette. `announced_mib`: what it said that the
    model would take."""
    server = servers.start_nautile(folder, *arguments, model=str(model))
    log = "".join(server.lines.all)
    found = re.search(r"(\d+) MiB of memory: (.*)", log)
    server.announced_mib = int(found.group(1)) if found else None
    server.announced = found.group(0) if found else log
    return server


def draw(server, pictures, seed=1, **fields):
    """Seconds from the request to the last picture."""
    body = {"model": server.model, "prompt": PROMPT, "n": pictures, "seed": seed,
            "response_format": "b64_json", **fields}
    began = time.perf_counter()
    answer = server.post("/v1/images/generations", body, timeout=900)
    seconds = time.perf_counter() - began
    found = answer.json()
    if answer.status != 200 or len(found["data"]) != pictures:
        raise RuntimeError(f"no pictures: {answer.body[:500]}")
    return seconds, found["usage"]


def engine_pid(server):
    """The child of the supervisor that has the model: the largest of them."""
    def resident(pid):
        return status_kib(pid, "VmRSS")

    children = pathlib.Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    return max((int(pid) for pid in children.read_text().split()), key=resident)


def status_kib(pid, field):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"^{field}:\s+(\d+) kB", text, re.M).group(1))


def peak_mib(server):
    return status_kib(engine_pid(server), "VmHWM") / 1024


def machine():
    cpu = next(line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo")
               if line.startswith("model name"))
    return f"{cpu}, {len(os.sched_getaffinity(0))} CPUs"
