#!/usr/bin/env python3
"""Nautile beside llama.cpp on the same files, interleaved, as ratios of medians.

usage: bench/peer/compare.py [--rounds N] [--isa auto|avx512|avx2] [--threads N] [--json]
                             [--shape NAME] [--types TYPE,...] [MODEL.gguf...]

Without files: synthetic R1-Distill-Qwen-1.5B shapes in Q4_0, Q4_K_M and Q8_0 and the starter.
--types makes and takes others: q5_k_m,q3_k_m,iq4_xs; --shape another shape (deepseek-v2-lite).
A round is: peer, Nautile, peer, Nautile … each in a process of its own, so both see the same
minutes of the machine; `nautile bench` prints its two probes (stream read, int8) beside each round.
The peer is the prebuilt llama.cpp that tools/fetch.py peer brings; --isa hides its newer CPU
variants (avx512: the one with AMX) and forces ours.
"""
import argparse
import datetime
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FETCHED = pathlib.Path(os.environ.get("NAUTILE_FETCH_DIR") or ROOT / "build" / "fetched")
BENCH = ROOT / "build" / "bench"
SYNTHETIC = ["q4_0", "q4_k_m", "q8_0"]
HIDDEN = {"auto": (), "avx512": ("sapphirerapids",),
          "avx2": ("skylakex", "cannonlake", "cascadelake", "cooperlake", "icelake", "zen4",
                   "sapphirerapids", "alderlake")}


def sh(command, **options):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **options).stdout


def cpu_name():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def build():
    sh([sys.executable, str(ROOT / "tools" / "fetch.py"), "peer", "starter"])
    sh(["cmake", "-G", "Ninja", "-S", str(ROOT), "-B", str(BENCH), "-DNAUTILE_TESTS=OFF",
        "-DNAUTILE_WEB=OFF", f"-DNAUTILE_PEER={FETCHED / 'peer'}"])
    sh(["ninja", "-C", str(BENCH), "nautile", "llama_peer", "synth_gguf"])


def synthetic(shape, kind):
    path = BENCH / f"{shape}-shape.{kind}.gguf"
    if not path.exists():
        sh([str(BENCH / "synth_gguf"), shape, kind.upper(),
            str(path) + ".partial"])
        os.replace(str(path) + ".partial", path)
    return path


def backends(isa, folder):
    source = FETCHED / "peer" / "package" / "bins" / "linux-x64"
    for library in source.iterdir():
        if not any(name in library.name for name in HIDDEN[isa]):
            (pathlib.Path(folder) / library.name).symlink_to(library)
    return folder


def sample_peer(model, folder, options):
    env = dict(os.environ, LD_LIBRARY_PATH=str(folder))
    return json.loads(sh([str(BENCH / "llama_peer"), str(model), str(folder), str(options.threads),
                          str(options.prefill), str(options.decode), *options.batch.split(",")],
                         env=env))


def sample_nautile(model, options):
    env = dict(os.environ)
    if options.isa != "auto":
        env["NAUTILE_ISA"] = options.isa
    command = [str(BENCH / "nautile"), "bench", str(model), "--json", "--repeat", "1", "--prefill",
               str(options.prefill), "--decode", str(options.decode), "--batch", options.batch,
               "--threads", str(options.threads)]
    return json.loads(sh(command, env=env, stderr=subprocess.DEVNULL))


def compare(model, options):
    peer, ours = [], []
    with tempfile.TemporaryDirectory() as folder:
        backends(options.isa, folder)
        for number in range(options.rounds):
            peer.append(sample_peer(model, folder, options))
            ours.append(sample_nautile(model, options))
            print(f"{model.name}: round {number + 1} of {options.rounds}", file=sys.stderr)
    row = {"model": model.name}
    for key in peer[0]:
        theirs = statistics.median(sample[key] for sample in peer)
        mine = statistics.median(sample[key]["median"] for sample in ours)
        row[key] = {"peer": round(theirs, 2), "nautile": round(mine, 2),
                    "ratio": round(mine / theirs, 2)}
    for probe in ("stream_gb_s", "int8_gop_s"):
        values = [sample[probe] for sample in ours if probe in sample]
        if values:
            row[probe] = {"median": round(statistics.median(values), 1),
                          "min": round(min(values), 1), "max": round(max(values), 1)}
    return row


def print_table(rows, options):
    keys = [key for key in rows[0] if isinstance(rows[0][key], dict) and "ratio" in rows[0][key]]
    print(f"{datetime.date.today()}, {cpu_name()}, {options.threads} threads, isa {options.isa}, "
          f"{options.rounds} rounds, prefill {options.prefill}, decode {options.decode}")
    print("| model | " + " | ".join(keys) + " | stream GB/s | int8 GOP/s |")
    print("|---" * (len(keys) + 3) + "|")
    for row in rows:
        cells = [f"{row[key]['nautile']} / {row[key]['peer']} = **{row[key]['ratio']}×**"
                 for key in keys]
        probes = [f"{row[probe]['median']} ({row[probe]['min']}–{row[probe]['max']})"
                  if probe in row else "–" for probe in ("stream_gb_s", "int8_gop_s")]
        print(f"| {row['model']} | " + " | ".join(cells + probes) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--isa", choices=list(HIDDEN), default="auto")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--decode", type=int, default=64)
    parser.add_argument("--batch", default="1,8")
    parser.add_argument("--shape", default="r1-distill-qwen-1.5b")
    parser.add_argument("--types", help="synthetic files to compare: q5_k_m,iq4_xs")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if shutil.which("cmake") is None:
        parser.error("cmake is missing; ./run installs it")
    build()
    models = options.models
    if options.types or not models:
        kinds = options.types.lower().split(",") if options.types else SYNTHETIC
        models = models + [synthetic(options.shape, kind) for kind in kinds]
        if not options.types:
            models.append(FETCHED / "starter" / "SmolLM2-135M-Instruct.Q4_1.gguf")
    rows = [compare(model, options) for model in models]
    if options.json:
        print(json.dumps(rows))
    else:
        print_table(rows, options)


if __name__ == "__main__":
    main()
