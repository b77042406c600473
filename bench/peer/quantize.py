#!/usr/bin/env python3
"""Nautile's quantiser beside llama.cpp's: error per type on the same weights, types of the mixes,
and perplexity of the starter requantised by both.

usage: bench/peer/quantize.py [--perplexity] [--source FILE.gguf] [--text FILE]

Needs build/release/nautile (or $NAUTILE), and numpy and gguf (tests/requirements.txt has both); the
peer and the starter are fetched. For each file type llama_model_quantize of the peer's library and
`nautile quantize` make a file of the same source; both are decoded by the `gguf` package, the
independent reader, and compared with the source tensor by tensor. Exit code 1 if a type differs, if
the root mean square error of a type is more than 1.02 times the peer's, or if the perplexities
differ by more than 0.5 %.
"""
import argparse
import collections
import ctypes
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy
from gguf import GGUFReader, quants

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FETCHED = pathlib.Path(os.environ.get("NAUTILE_FETCH_DIR") or ROOT / "build" / "fetched")
NAUTILE = os.environ.get("NAUTILE") or str(ROOT / "build" / "release" / "nautile")
STARTER = FETCHED / "starter" / "SmolLM2-135M-Instruct.Q4_1.gguf"
TEXT = ROOT / "tests" / "golden" / "model" / "smollm2-135m-q4_1" / "text.txt"
TYPES = {"Q8_0": 7, "Q6_K": 18, "Q5_K_M": 17, "Q4_K_M": 15, "Q4_0": 2, "Q3_K_M": 12, "Q2_K": 10}
ERROR_RATIO_MAX = 1.02
PERPLEXITY_DIFFERENCE_MAX = 0.005


class PeerParams(ctypes.Structure):
    """The beginning of llama_model_quantize_params; the default values fill the rest."""
    _fields_ = [("nthread", ctypes.c_int32), ("ftype", ctypes.c_int32),
                ("output_tensor_type", ctypes.c_int32), ("token_embedding_type", ctypes.c_int32),
                ("allow_requantize", ctypes.c_bool), ("quantize_output_tensor", ctypes.c_bool),
                ("only_copy", ctypes.c_bool), ("pure", ctypes.c_bool),
                ("rest", ctypes.c_uint8 * 128)]


def peer_quantize(source, out, ftype):
    """In a process of its own: the library's backends cannot be unloaded."""
    folder = FETCHED / "peer" / "package" / "bins" / "linux-x64"
    subprocess.run([sys.executable, __file__, "--as-peer", str(folder), str(source), str(out),
                    str(ftype)], check=True, env=dict(os.environ, LD_LIBRARY_PATH=str(folder)),
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def run_as_peer(folder, source, out, ftype):
    ggml = ctypes.CDLL(next(iter(pathlib.Path(folder).glob("libggml.*so*"))),
                       mode=ctypes.RTLD_GLOBAL)
    ggml.ggml_backend_load_all_from_path.argtypes = [ctypes.c_char_p]
    ggml.ggml_backend_load_all_from_path(str(folder).encode())
    llama = ctypes.CDLL(next(iter(pathlib.Path(folder).glob("libllama.*so*"))))
    llama.llama_backend_init()
    llama.llama_model_quantize_default_params.restype = PeerParams
    params = llama.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize = int(ftype), True
    llama.llama_model_quantize.argtypes = [ctypes.c_char_p, ctypes.c_char_p,
                                           ctypes.POINTER(PeerParams)]
    llama.llama_model_quantize.restype = ctypes.c_uint32
    return llama.llama_model_quantize(str(source).encode(), str(out).encode(),
                                      ctypes.byref(params))


def tensors(path):
    return {tensor.name: tensor for tensor in GGUFReader(str(path)).tensors}


def decoded(tensor):
    return quants.dequantize(tensor.data, tensor.tensor_type).astype(numpy.float64)


def perplexity(model, text):
    done = subprocess.run([NAUTILE, "perplexity", str(model), "--text", str(text), "--ctx", "512"],
                          check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["ppl"]


def compare(name, source, ours, theirs):
    """Prints one line a block type; returns what is wrong."""
    wrong, sums = [], collections.defaultdict(lambda: [0.0, 0.0, 0.0])
    original, left, right = tensors(source), tensors(ours), tensors(theirs)
    if set(left) != set(right):
        wrong.append(f"{name}: other tensors: {sorted(set(left) ^ set(right))[:4]}")
    for key in sorted(set(left) & set(right)):
        mine, peers = left[key], right[key]
        if mine.tensor_type != peers.tensor_type:
            wrong.append(f"{name}: {key} is {mine.tensor_type.name}, the peer's "
                         f"{peers.tensor_type.name}")
            continue
        true = decoded(original[key])
        entry = sums[mine.tensor_type.name]
        entry[0] += float(((decoded(mine) - true) ** 2).sum())
        entry[1] += float(((decoded(peers) - true) ** 2).sum())
        entry[2] += float((true ** 2).sum())
    for kind, (mine, peers, true) in sorted(sums.items()):
        if peers == 0 and mine == 0:
            continue
        ratio = (mine / peers) ** 0.5 if peers else float("inf")
        print(f"{name:7} {kind:7} error {(mine / true) ** 0.5:.5f}  peer "
              f"{(peers / true) ** 0.5:.5f}  ratio {ratio:.4f}", flush=True)
        if ratio > ERROR_RATIO_MAX:
            wrong.append(f"{name}: {kind} loses {ratio:.3f} times what the peer loses")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--perplexity", action="store_true")
    parser.add_argument("--source", type=pathlib.Path, default=STARTER)
    parser.add_argument("--text", type=pathlib.Path, default=TEXT)
    parser.add_argument("--types", nargs="*", default=list(TYPES))
    options = parser.parse_args()
    subprocess.run([sys.executable, str(ROOT / "tools" / "fetch.py"), "peer", "starter"],
                   check=True)
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = pathlib.Path(folder) / "ours.gguf", pathlib.Path(folder) / "peer.gguf"
        for name in options.types:
            subprocess.run([NAUTILE, "quantize", str(options.source), str(ours), name, "--force"],
                           check=True, stdout=subprocess.DEVNULL)
            peer_quantize(options.source, theirs, TYPES[name])
            wrong += compare(name, options.source, ours, theirs)
            if options.perplexity:
                mine, peers = perplexity(ours, options.text), perplexity(theirs, options.text)
                print(f"{name:7} perplexity {mine:.4f}  peer {peers:.4f}  "
                      f"{100 * (mine / peers - 1):+.2f} %", flush=True)
                if mine / peers - 1 > PERPLEXITY_DIFFERENCE_MAX:
                    wrong.append(f"{name}: perplexity {mine:.4f}, the peer's {peers:.4f}")
    for line in wrong:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    if len(sys.argv) == 6 and sys.argv[1] == "--as-peer":
        sys.exit(run_as_peer(*sys.argv[2:]))
    sys.exit(main())
