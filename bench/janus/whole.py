#!/usr/bin/env python3
"""A whole picture of Janus-Pro-1B beside PyTorch on the same weights, interleaved.

usage: bench/janus/whole.py [--type q4_k_m|q8_0] [--rounds N] [--threads N] [--model FILE]
                            [--dtypes f32,bf16] [--steps N] [--skip-four] [--check STEPS]

Run it with a Python that has `torch`, numpy and `gguf` (PyPI); build nautile and synth_gguf first
(ninja -C build/release nautile synth_gguf). The model is the synthetic one of the 1B shape; PyTorch
gets the same weights, decoded from the file. Both draw one 384 x 384 picture of the same prompt:
the prompt's two rows, 576 steps of both rows with a key/value cache, guidance, sampling, then the
VQ decoder. Nautile is asked over HTTP and gives a PNG; PyTorch's time ends with the pixels. PyTorch
runs in inference mode with the cache allocated once and its own attention; of f32 and bf16 the type
that is faster in a few steps is timed. A round is: Nautile 1, PyTorch 1, Nautile 1, Nautile 4; each
waits while the other works. --steps N stops PyTorch after so many steps of its one picture: what it
has taken by then is a lower bound, and the ratio is one.

--check STEPS draws greedily with `nautile image --codes-out` and asks PyTorch what it thinks of
these codes: how far below its own best logit they are, step by step.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
import torch.nn.functional as F
from gguf import GGUFReader, dequantize

import parts
import served

HIDDEN, FFN, LAYERS, HEADS, HEAD, EPS, BASE = 2048, 5632, 24, 16, 128, 1e-6, 10000.0
CODES, STEPS, GUIDANCE = parts.CODES, served.CODES, 5.0


class File:
    """The tensors of the file by name, decoded; and as parts.py asks for them."""

    def __init__(self, path):
        self.reader = GGUFReader(path)
        self.tensors = {tensor.name: tensor for tensor in self.reader.tensors}

    def __call__(self, name, *shape):
        tensor = self.tensors[name]
        decoded = np.array(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        made = torch.from_numpy(decoded)
        return made.reshape(shape) if shape else made

    def rows(self, name, indices):
        tensor = self.tensors[name]
        return torch.from_numpy(np.array(dequantize(tensor.data[indices], tensor.tensor_type),
                                         dtype=np.float32))

    def pair(self, name, *shape):
        return self(name + ".weight", *shape), self(name + ".bias", shape[0])


def prompt_ids(file):
    """With the text and without it, as docs and engine/janus_prompts.h have them."""
    field = file.reader.fields["tokenizer.ggml.tokens"]
    ids = {bytes(field.parts[i]).decode(): at for at, i in enumerate(field.data)}
    text = f": {served.PROMPT}\n\n".encode()
    inside, at = [], 0
    while at < len(text):  # bytes, and the only merge of the synthetic vocabulary
        pair = text[at:at + 2] == b"th"
        inside.append(256 if pair else text[at])
        at += 2 if pair else 1
    bos = len(ids) - 1
    with_text = [bos, ids["<|User|>"], *inside, ids["<|Assistant|>"], ord(":"),
                 ids["<begin_of_image>"]]
    without = [bos] + [ids["<｜▁pad▁｜>"]] * (len(with_text) - 2) + [with_text[-1]]
    return with_text, without


class Language:
    """The decoder with the adapters of image codes, for two rows of one picture."""

    def __init__(self, file, dtype, length_max):
        to = lambda t: t.to(dtype).contiguous()
        self.dtype = dtype
        self.layers = []
        for i in range(LAYERS):
            w = lambda name: file(f"blk.{i}.{name}.weight")
            self.layers.append((
                to(w("attn_norm")), to(torch.cat([w("attn_q"), w("attn_k"), w("attn_v")])),
                to(w("attn_output")), to(w("ffn_norm")),
                to(torch.cat([w("ffn_gate"), w("ffn_up")])), to(w("ffn_down"))))
        self.norm = to(file("output_norm.weight"))
        two = lambda *pair: tuple(to(t) for t in pair)
        self.codes = to(file("codes.weight"))
        self.aligner = [two(*file.pair("codes_aligner.0", HIDDEN, parts.CODE_WIDTH)),
                        two(*file.pair("codes_aligner.1", HIDDEN, HIDDEN))]
        self.head = [two(*file.pair("codes_head.0", HIDDEN, HIDDEN)),
                     two(*file.pair("codes_head.1", CODES, HIDDEN))]
        self.cache = torch.zeros(LAYERS, 2, 2, HEADS, length_max, HEAD, dtype=dtype)
        angles = torch.outer(torch.arange(length_max, dtype=torch.float32),
                             BASE ** (-torch.arange(0, HEAD, 2, dtype=torch.float32) / HEAD))
        angles = torch.cat([angles, angles], dim=1)
        self.cos, self.sin = angles.cos().to(dtype), angles.sin().to(dtype)

    def turn(self, x, at, count):
        first, second = x.chunk(2, dim=-1)
        return x * self.cos[at:at + count] + torch.cat([-second, first], -1) * self.sin[
            at:at + count]

    def forward(self, x, at):
        """x: (2, count, HIDDEN) from position `at` on; the state after the final norm."""
        count = x.shape[1]
        for i, (norm1, qkv, out, norm2, gate_up, down) in enumerate(self.layers):
            h = F.linear(F.rms_norm(x, (HIDDEN,), norm1, EPS), qkv)
            q, k, v = h.view(2, count, 3, HEADS, HEAD).permute(2, 0, 3, 1, 4)
            keys, values = self.cache[i]
            keys[:, :, at:at + count] = self.turn(k, at, count)
            values[:, :, at:at + count] = v
            h = F.scaled_dot_product_attention(
                self.turn(q, at, count), keys[:, :, :at + count], values[:, :, :at + count],
                is_causal=count > 1)
            x = x + F.linear(h.transpose(1, 2).reshape(2, count, HIDDEN), out)
            gate, up = F.linear(F.rms_norm(x, (HIDDEN,), norm2, EPS), gate_up).chunk(2, dim=-1)
            x = x + F.linear(F.silu(gate) * up, down)
        return F.rms_norm(x, (HIDDEN,), self.norm, EPS)

    def guided(self, state):
        h = F.gelu(F.linear(state[:, -1], *self.head[0]))
        with_text, without = F.linear(h, *self.head[1]).float()
        return without + GUIDANCE * (with_text - without)

    def embedded(self, code):
        h = F.gelu(F.linear(self.codes[code], *self.aligner[0]))
        return F.linear(h, *self.aligner[1]).expand(2, 1, HIDDEN)

    def draw(self, prompt, steps=STEPS, given=None):
        """Codes; with `given` those are taken, and the logits of every step are returned."""
        state = self.forward(prompt.to(self.dtype), 0)
        self.prompt_read_at = time.perf_counter()
        codes, logits, at = [], [], prompt.shape[1]
        while True:
            guided = self.guided(state)
            if given is not None:
                logits.append(guided)
                codes.append(given[len(codes)])
            else:
                codes.append(int(torch.multinomial(guided.softmax(-1), 1)))
            if len(codes) == steps:
                return logits if given is not None else codes
            state = self.forward(self.embedded(codes[-1]), at)
            at += 1


class Peer:
    def __init__(self, path, dtypes):
        file = File(path)
        ids = prompt_ids(file)
        self.prompt = torch.stack([file.rows("token_embd.weight", row) for row in ids])
        self.length = len(ids[0])
        self.paint = parts.decoder(file, torch.float32, torch.contiguous_format)
        best, trial_steps = None, 5
        for name in dtypes.split(","):
            dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[name]
            language = Language(file, dtype, self.length + STEPS)
            language.draw(self.prompt, trial_steps + 1)
            seconds = (time.perf_counter() - language.prompt_read_at) / trial_steps
            print(f"  PyTorch {name}: {seconds * 1000:.0f} ms a step", file=sys.stderr, flush=True)
            if best is None or seconds < best[0]:
                best = (seconds, name, language)
        _, self.name, self.language = best

    def __call__(self, steps):
        began = time.perf_counter()
        codes = np.array(self.language.draw(self.prompt, steps), dtype=np.int64)
        sampled = time.perf_counter()
        if steps < STEPS:
            return sampled - began, sampled - began
        pixels = self.paint(codes.reshape(parts.GRID, parts.GRID))
        ((pixels.clamp(-1, 1) + 1) * 127.5).to(torch.uint8).permute(1, 2, 0).contiguous()
        return time.perf_counter() - began, sampled - began


def check(model, peer, steps, threads):
    with tempfile.TemporaryDirectory() as folder:
        codes = os.path.join(folder, "codes")
        subprocess.run([os.environ["NAUTILE"], "image", str(model), served.PROMPT, "--temp", "0",
                        "--codes-out", codes, "--output", os.path.join(folder, "picture.png"),
                        "--threads", str(threads)], check=True, stdout=subprocess.DEVNULL)
        with open(codes) as written:
            given = np.array(json.load(written)).ravel()
    logits = peer.language.draw(peer.prompt, steps, [int(code) for code in given])
    below = [float((row.max() - row[code]) / row.std()) for row, code in zip(logits, given)]
    print(f"\nof {steps} greedy codes {sum(gap == 0 for gap in below)} are PyTorch's best; the "
          f"others are at most {max(below):.3f} deviations of its logits below it "
          f"(any code: about {float(logits[0].max() / logits[0].std()):.1f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--type", default="q4_k_m")
    parser.add_argument("--model")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtypes", default="f32,bf16")
    parser.add_argument("--steps", type=int, default=STEPS, choices=range(1, STEPS + 1),
                        metavar="N")
    parser.add_argument("--skip-four", action="store_true")
    parser.add_argument("--check", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = args.model or served.synthetic(args.type)
    times = {"pytorch": [], "one": [], "four": []}
    with torch.inference_mode(), tempfile.TemporaryDirectory(prefix="nautile-bench-") as folder:
        peer = Peer(model, args.dtypes)
        server = served.start(model, folder, "--threads", str(args.threads), "--context", "4096")
        try:
            for i in range(args.rounds):
                seconds, usage = served.draw(server, 1, seed=i)
                times["one"].append(seconds)
                if usage["input_tokens"] != peer.length:
                    raise RuntimeError("the prompts are not of the same length")
                seconds, sampled = peer(args.steps)
                times["pytorch"].append(seconds)
                times["one"].append(served.draw(server, 1, seed=i)[0])
                if not args.skip_four:
                    times["four"].append(served.draw(server, 4, seed=i)[0])
                print(f"  round {i + 1}: {json.dumps(times)}, PyTorch's codes {sampled:.1f} s",
                      file=sys.stderr, flush=True)
        finally:
            server.stop()
        if args.check:
            check(model, peer, args.check, args.threads)
    theirs, mine = (statistics.median(times[key]) for key in ("pytorch", "one"))
    four = statistics.median(times["four"]) if times["four"] else float("nan")
    bound = f" ({args.steps} steps alone)" if args.steps < STEPS else ""
    print(f"{served.machine()}, torch {torch.__version__} ({peer.name}), {args.threads} threads\n")
    print("| model | PyTorch, s | Nautile, s | ratio | four pictures, s | of one |")
    print("|---|---|---|---|---|---|")
    print(f"| {os.path.basename(model)} | {theirs:.1f}{bound} | {mine:.1f} | "
          f"**{'> ' if bound else ''}{theirs / mine:.2f}×** | {four:.1f} | "
          f"**{four / mine:.2f}×** |")


if __name__ == "__main__":
    main()
