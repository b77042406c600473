#!/usr/bin/env python3
"""How long one member waits between two tokens while another draws four pictures.

usage: bench/janus/together.py [--type q4_k_m|q8_0] [--tokens N] [--model FILE] [-- SERVE-OPTION...]

Build nautile and synth_gguf first (ninja -C build/release nautile synth_gguf). One server, the
Janus-Pro-1B shape, random weights. Three phases; in each a client reads a streamed chat and notes
when each of its tokens comes (over HTTP, on the same machine):

  alone       nobody else asks for anything
  fifth row   four other chats are being answered: what one row more costs there is the yardstick
  drawing     four pictures are drawn, from their prompt to the last one's pixels

and at the end the peak of the engine's memory beside what the program announced before it loaded.
"""
import argparse
import contextlib
import statistics
import tempfile
import threading
import time

import served
import servers

LONGEST_SHOWN = 24


def reading(server, tokens, stop=None):
    """Seconds between two tokens of one streamed chat, from its first token on. `stop` ends it."""
    body = {"model": server.model, "stream": True, "max_tokens": tokens, "ignore_eos": True,
            "temperature": 0, "messages": [{"role": "user", "content": "Go on."}]}
    connection, response = server.open_stream("POST", "/v1/chat/completions", body, timeout=600)
    arrivals = []
    with contextlib.closing(connection):
        for event in servers.events(response):
            if isinstance(event, dict) and "choices" not in event:
                raise RuntimeError(f"no answer: {event}")
            if isinstance(event, dict) and event["choices"] and (
                    event["choices"][0]["delta"].get("content")):
                arrivals.append(time.perf_counter())
            if stop and stop.is_set():
                break
    return [(at, at - before) for before, at in zip(arrivals, arrivals[1:])]


class Background(threading.Thread):
    """Runs a function; result() waits for it and gives its value, or raises what it raised."""

    def __init__(self, function, *arguments):
        super().__init__(daemon=True)
        self.function, self.arguments, self.value, self.error = function, arguments, None, None
        self.start()

    def run(self):
        try:
            self.value = self.function(*self.arguments)
        except Exception as error:  # is raised again in the thread that asks
            self.error = error

    def result(self):
        self.join()
        if self.error:
            raise self.error
        return self.value


def show(phase, gaps):
    gaps = sorted(gap * 1000 for gap in gaps)
    p99 = gaps[min(len(gaps) - 1, int(len(gaps) * 0.99))]
    print(f"| {phase} | {len(gaps)} | {statistics.median(gaps):.0f} | {p99:.0f} | "
          f"{gaps[-1]:.0f} |", flush=True)
    return statistics.median(gaps), p99, gaps[-1]


def beside_four_chats(server, tokens):
    stop = threading.Event()
    others = [Background(reading, server, 4000, stop) for _ in range(4)]
    time.sleep(3)  # their prompts are read
    gaps = reading(server, tokens)
    stop.set()
    for other in others:
        other.result()
    return [gap for _, gap in gaps]


def beside_four_pictures(server):
    stop = threading.Event()
    reader = Background(reading, server, 8000, stop)
    time.sleep(2)  # its prompt is read
    began = time.perf_counter()
    seconds, _ = served.draw(server, 4)
    ended = time.perf_counter()
    stop.set()
    return seconds, [(at - began, gap) for at, gap in reader.result() if began <= at <= ended]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--type", default="q4_k_m")
    parser.add_argument("--model")
    parser.add_argument("--tokens", type=int, default=120)
    parser.add_argument("serve", nargs="*", help="more arguments of nautile serve")
    args = parser.parse_args()
    model = args.model or served.synthetic(args.type)
    with tempfile.TemporaryDirectory(prefix="nautile-bench-") as folder:
        server = served.start(model, folder, "--context", "8192", *args.serve)
        try:
            print(f"{served.machine()}\n{server.announced}\n")
            reading(server, 8)
            print("| phase | gaps | p50 ms | p99 ms | longest ms |")
            print("|---|---|---|---|---|")
            show("alone", [gap for _, gap in reading(server, args.tokens)])
            row, _, _ = show("fifth row", beside_four_chats(server, args.tokens))
            seconds, gaps = beside_four_pictures(server)
            _, p99, longest = show("drawing", [gap for _, gap in gaps])
            print("the longest, at which second of the drawing: " + ", ".join(
                f"{1000 * gap:.0f} ms at {at:.1f}"
                for at, gap in sorted(gaps, key=lambda pair: -pair[1])[:LONGEST_SHOWN]))
            peak = served.peak_mib(server)
            print(f"\np99 drawing / a fifth row's: {p99 / row:.2f}, longest {longest:.0f} ms, "
                  f"the four pictures took {seconds:.1f} s")
            if server.announced_mib:
                print(f"peak of the engine {peak:.0f} MiB, announced {server.announced_mib} MiB: "
                      f"{100 * (peak / server.announced_mib - 1):+.1f} %")
        finally:
            server.stop()


if __name__ == "__main__":
    main()
