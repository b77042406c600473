#!/usr/bin/env python3
"""The picture parts of Janus-Pro-1B beside PyTorch on the same weights, interleaved.

usage: bench/janus/parts.py [--rounds N] [--threads N] [--isa NAME] [--exact] [--parts see,draw]
                            [--skip-bf16] [--check]

Run it with a Python that has `torch` (PyPI) and numpy; build janus_parts first
(ninja -C build/release janus_parts). Weights are random, the same on both sides (janus_parts.cc).
A round is: PyTorch, Nautile, for each part in turn; each waits while the other works. PyTorch runs
in inference mode, f32 and bf16, convolutions in both of its memory formats; its fastest form of a
part (found in a first round) is the one that is timed. --check compares the
results of both with PyTorch's in f32.
"""
import argparse
import json
import math
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
import torch.nn.functional as F

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HIDDEN, WIDTH, LAYERS, HEADS, FFN, PATCH, SIDE = 2048, 1024, 24, 16, 4096, 16, 384
CODES, CODE_WIDTH, LATENT, GRID = 16384, 8, 256, 24
CHANNELS, MULTIPLIERS, RES = 128, (1, 1, 2, 2, 4), 2
TOKENS = (SIDE // PATCH) ** 2


def mix(x):
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        return x ^ x >> np.uint64(31)


def seed_of(name):
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 & (1 << 64) - 1
    return np.uint64(seed)


class Weights:
    """Makes tensors by name, as f32 rounded to bf16, and counts nothing twice."""

    def __init__(self):
        self.made = {}

    def __call__(self, name, *shape):
        if name not in self.made:
            centre, width = 0.0, math.sqrt(3 / math.prod(shape[1:])) if len(shape) > 1 else 0.1
            if name == "vision.positions":
                width = 0.05
            elif name == "vq.codebook.weight":
                width = 1.0
            elif len(shape) == 1 and "norm" in name and name.endswith(".weight"):
                centre, width = 1.0, 0.2
            with np.errstate(over="ignore"):
                i = np.arange(math.prod(shape), dtype=np.uint64) + seed_of(name)
            number = (mix(i) >> np.uint64(40)).astype(np.float32)
            number = number / np.float32(1 << 23) - np.float32(1)
            value = np.float32(centre) + np.float32(width) * number
            made = torch.from_numpy(value).reshape(shape).to(torch.bfloat16)
            self.made[name] = made.float()
        return self.made[name]

    def pair(self, name, *shape):
        return self(name + ".weight", *shape), self(name + ".bias", shape[0])


def tower(w, dtype):
    """The vision tower and the aligner as a function of a canvas (side, side, 3) of bytes."""
    to = lambda pair: tuple(t.to(dtype) for t in pair)
    patch = to(w.pair("vision.patch", WIDTH, 3, PATCH, PATCH))
    positions = w("vision.positions", TOKENS, WIDTH).to(dtype)
    layers = []
    for i in range(LAYERS):
        at = f"vision.layers.{i}."
        layers.append([to(p) for p in (
            w.pair(at + "norm1", WIDTH), w.pair(at + "qkv", 3 * WIDTH, WIDTH),
            w.pair(at + "proj", WIDTH, WIDTH), w.pair(at + "norm2", WIDTH),
            w.pair(at + "fc1", FFN, WIDTH), w.pair(at + "fc2", WIDTH, FFN))])
    norm = to(w.pair("vision.norm", WIDTH))
    aligner = [to(w.pair("aligner.0", HIDDEN, WIDTH)), to(w.pair("aligner.1", HIDDEN, HIDDEN))]

    def run(canvas):
        x = ((torch.from_numpy(canvas).permute(2, 0, 1)[None].float() / 255 - 0.5) / 0.5).to(dtype)
        x = F.conv2d(x, *patch, stride=PATCH).flatten(2).transpose(1, 2) + positions
        for norm1, qkv, proj, norm2, fc1, fc2 in layers:
            h = F.linear(F.layer_norm(x, (WIDTH,), *norm1, 1e-6), *qkv)
            q, k, v = h.view(1, TOKENS, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
            h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(1, TOKENS, WIDTH)
            x = x + F.linear(h, *proj)
            h = F.gelu(F.linear(F.layer_norm(x, (WIDTH,), *norm2, 1e-6), *fc1))
            x = x + F.linear(h, *fc2)
        x = F.layer_norm(x, (WIDTH,), *norm, 1e-6)
        return F.linear(F.gelu(F.linear(x, *aligner[0])), *aligner[1])[0].float()

    return run


def decoder(w, dtype, memory_format):
    """The VQ decoder as a function of codes (grid, grid)."""

    def conv(name, out, into, size):
        weight, bias = w.pair(name, out, into, size, size)
        return weight.to(dtype).contiguous(memory_format=memory_format), bias.to(dtype)

    norm = lambda name, channels: tuple(t.to(dtype) for t in w.pair(name, channels))

    def res(at, into, out):
        parts = (norm(at + ".norm1", into), conv(at + ".conv1", out, into, 3),
                 norm(at + ".norm2", out), conv(at + ".conv2", out, out, 3),
                 conv(at + ".shortcut", out, into, 1) if into != out else None)

        def run(x):
            h = F.conv2d(F.silu(F.group_norm(x, 32, *parts[0], 1e-6)), *parts[1], padding=1)
            h = F.conv2d(F.silu(F.group_norm(h, 32, *parts[2], 1e-6)), *parts[3], padding=1)
            return (F.conv2d(x, *parts[4]) if parts[4] else x) + h
        return run

    def attention(at, c):
        n = norm(at + ".norm", c)
        q, k, v, out = (conv(f"{at}.{part}", c, c, 1) for part in ("q", "k", "v", "out"))

        def run(x):
            h = F.group_norm(x, 32, *n, 1e-6)
            rows = [F.conv2d(h, *p).flatten(2).transpose(1, 2)[None] for p in (q, k, v)]
            h = F.scaled_dot_product_attention(*rows)[0].transpose(1, 2).reshape(x.shape)
            return x + F.conv2d(h, *out)
        return run

    def upsample(at, c):
        p = conv(at, c, c, 3)
        return lambda x: F.conv2d(F.interpolate(x, scale_factor=2.0, mode="nearest"), *p, padding=1)

    book = F.normalize(w("vq.codebook.weight", CODES, CODE_WIDTH), dim=1).to(dtype)
    post = conv("vq.post_quant", LATENT, CODE_WIDTH, 1)
    c = CHANNELS * MULTIPLIERS[-1]
    conv_in = conv("vq.conv_in", c, LATENT, 3)
    steps = [res("vq.mid.0", c, c), attention("vq.mid.1", c), res("vq.mid.2", c, c)]
    for i, multiplier in enumerate(reversed(MULTIPLIERS)):
        out = CHANNELS * multiplier
        for block in range(RES + 1):
            steps.append(res(f"vq.up.{i}.res.{block}", c, out))
            c = out
            if i == 0:
                steps.append(attention(f"vq.up.{i}.attn.{block}", c))
        if i + 1 < len(MULTIPLIERS):
            steps.append(upsample(f"vq.up.{i}.upsample", c))
    norm_out, conv_out = norm("vq.norm_out", c), conv("vq.conv_out", 3, c, 3)

    def run(codes):
        z = book[torch.from_numpy(codes)].T.reshape(1, CODE_WIDTH, GRID, GRID)
        x = F.conv2d(z.contiguous(memory_format=memory_format), *post)
        x = F.conv2d(x, *conv_in, padding=1)
        for step in steps:
            x = step(x)
        x = F.silu(F.group_norm(x, 32, *norm_out, 1e-6))
        return F.conv2d(x, *conv_out, padding=1)[0].float()

    return run


class Ours:
    def __init__(self, args):
        program = ROOT / "build" / "release" / "janus_parts"
        command = [str(program), "--threads", str(args.threads)]
        command += ["--isa", args.isa] if args.isa else []
        command += ["--exact"] if args.exact else []
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        self.bytes = int(self.process.stdout.readline().split()[1])

    def __call__(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def result(self):
        with tempfile.NamedTemporaryFile() as file:
            self(f"save {file.name}")
            return np.fromfile(file.name, dtype=np.float32)


def timed(function, argument):
    start = time.perf_counter()
    result = function(argument)
    return time.perf_counter() - start, result


def peers(part, args):
    weights = Weights()
    dtypes = [("f32", torch.float32)] + ([] if args.skip_bf16 else [("bf16", torch.bfloat16)])
    for name, dtype in dtypes:
        if part == "see":
            yield name, tower(weights, dtype)
            continue
        yield name + ", channels first", decoder(weights, dtype, torch.contiguous_format)
        yield name + ", channels last", decoder(weights, dtype, torch.channels_last)


def measure(part, argument, ours, args):
    best = None
    for form, function in peers(part, args):
        seconds, result = min((timed(function, argument) for _ in range(2)), key=lambda x: x[0])
        print(f"  {part}: PyTorch {form}: {seconds:.2f} s", file=sys.stderr)
        if form.startswith("f32"):
            exact = result
        if best is None or seconds < best[0]:
            best = (seconds, form, function)
    row = {"part": part, "form": best[1], "pytorch": [], "nautile": []}
    ours(part)
    for _ in range(args.rounds):
        row["pytorch"].append(timed(best[2], argument)[0])
        row["nautile"].append(float(ours(part)))
    if args.check:
        wanted = exact.contiguous().numpy().ravel()
        theirs = best[2](argument).float().contiguous().numpy().ravel()
        for side, result in (("ours", ours.result()), ("theirs", theirs)):
            away = np.abs(result - wanted)
            row[side] = f"{away.max():.2e} (root mean square {np.sqrt(np.mean(away ** 2)):.2e})"
        row["deviation"] = float(wanted.std())
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--isa", default="")
    parser.add_argument("--exact", action="store_true")
    parser.add_argument("--parts", default="see,draw")
    parser.add_argument("--skip-bf16", action="store_true")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    at = lambda n: mix(np.arange(n, dtype=np.uint64))
    inputs = {"see": (at(SIDE * SIDE * 3) >> np.uint64(56)).astype(np.uint8).reshape(SIDE, SIDE, 3),
              "draw": (at(GRID * GRID) % np.uint64(CODES)).astype(np.int64)}
    ours = Ours(args)
    print(f"torch {torch.__version__}, {args.threads} threads; "
          f"Nautile takes {ours.bytes / 1e6:.0f} MB of memory\n")
    print("| part | PyTorch's fastest form | PyTorch / Nautile, s | ratio (of rounds) |")
    print("|---|---|---|---|")
    with torch.inference_mode():
        for part in args.parts.split(","):
            row = measure(part, inputs[part], ours, args)
            theirs, mine = (statistics.median(row[side]) for side in ("pytorch", "nautile"))
            ratios = [a / b for a, b in zip(row["pytorch"], row["nautile"])]
            print(f"| {part} | {row['form']} | {theirs:.2f} / {mine:.2f} | "
                  f"**{theirs / mine:.2f}×** ({min(ratios):.2f}–{max(ratios):.2f}) |", flush=True)
            if args.check:
                print(f"\n{part}: worst difference from PyTorch f32: Nautile {row['ours']}, "
                      f"{row['form']} {row['theirs']}; the result deviates by "
                      f"{row['deviation']:.2f}\n")


if __name__ == "__main__":
    main()
