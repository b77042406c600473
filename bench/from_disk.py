#!/usr/bin/env python3
"""How fast a model that is larger than its memory answers, beside what was said before it loaded.

usage: bench/from_disk.py MODEL --memory SIZE [--rounds N] [--tokens N]

Build nautile first (ninja -C build/release nautile); MODEL is a mixture of experts, for example
`synth_gguf deepseek-v2-lite Q4_K_M v2lite.gguf`, SIZE about half of it. Each round starts a server,
asks for a completion of random ids and times its tokens. Beside it stands what the disk gave to
plain reads of the same file (O_DIRECT, at random places, the size of an expert's matrix) before and
after: where that swings, so does the answer.
"""
import argparse
import mmap
import os
import pathlib
import random
import re
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
os.environ.setdefault("NAUTILE", str(ROOT / "build" / "release" / "nautile"))
sys.path.insert(0, str(ROOT / "tests" / "http"))
import servers  # noqa: E402

READ_BYTES, READ_SECONDS = 3 << 20, 2.0
PROMPT_IDS, FIRST_ID, LAST_ID = 48, 300, 100_000
WARM_TOKENS = 10


def disk_gib_per_s(path):
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    blocks = (os.fstat(descriptor).st_size - READ_BYTES) // mmap.PAGESIZE
    buffer = mmap.mmap(-1, READ_BYTES)
    began, got = time.perf_counter(), 0
    while time.perf_counter() - began < READ_SECONDS:
        got += os.preadv(descriptor, [buffer], random.randrange(blocks) * mmap.PAGESIZE)
    os.close(descriptor)
    return got / (time.perf_counter() - began) / 2**30


def answer_s(server, ids, tokens):
    body = {"model": server.model, "prompt": ids, "max_tokens": tokens, "ignore_eos": True,
            "temperature": 1}
    began = time.perf_counter()
    response = server.post("/v1/completions", body, timeout=900)
    if response.status != 200 or response.json()["usage"]["completion_tokens"] != tokens:
        raise RuntimeError(f"no answer: {response.body[:500]}")
    return time.perf_counter() - began


def tokens_per_s(server, tokens):
    """Of a warm server, whose cache has the prompt: what `tokens` tokens take more than one."""
    ids = [random.randrange(FIRST_ID, LAST_ID) for _ in range(PROMPT_IDS)]
    answer_s(server, ids, WARM_TOKENS)
    one = answer_s(server, ids, 1)
    return tokens / (answer_s(server, ids, tokens + 1) - one)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--memory", required=True)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=60)
    args = parser.parse_args()
    print("| plain reads before and after, GiB/s | said, tokens/s | measured | measured / said |")
    print("|---|---|---|---|")
    for _ in range(args.rounds):
        before = disk_gib_per_s(args.model)
        with tempfile.TemporaryDirectory(prefix="nautile-bench-") as folder:
            server = servers.start_nautile(folder, "--memory", args.memory, "--context", "4096",
                                           model=args.model)
            try:
                found = re.search(r"about ([\d.]+) tokens/s", "".join(server.lines.all))
                if not found:
                    sys.exit(f"{args.model} fits into {args.memory}: give less with --memory")
                said = float(found.group(1))
                measured = tokens_per_s(server, args.tokens)
            finally:
                server.stop()
        after = disk_gib_per_s(args.model)
        print(f"| {before:.2f}, {after:.2f} | {said:.2f} | {measured:.2f} | "
              f"{measured / said:.2f} |", flush=True)


if __name__ == "__main__":
    main()
