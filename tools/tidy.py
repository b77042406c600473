#!/usr/bin/env python3
"""Keeps the house in order: a test of the repository's own text, run by ./check fast.

usage: tidy.py [FILE...]      (without files: everything that git tracks)

Rules, each with the reason in ARCHITECTURE.md:
  layers    a module includes only the modules of its row in LAYERS
  walls     a third-party header appears only in the files of its wall
  sizes     line <= 100 columns, function <= 70 lines, file <= 800 lines; the files in RATCHET may
            be larger, but never larger than they are written down there
  coroutine no capturing lambda inside a co_await expression (g++ 12.2 frees it twice)
  contract  a header opens with a comment that says what it is, then #pragma once
  fuzz      a parser of foreign bytes has its fuzz target beside it
  words     no unfinished work, no path of a developer's machine
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

LAYERS = {
    "base": {},
    "tensor": {"base"},
    "text": {"base"},
    "media": {"base"},
    "net": {"base"},
    "format": {"base", "tensor/dtype.h", "tensor/encode.h", "text/tokenizer_spec.h"},
    "model": {"base", "tensor", "format"},
    "engine": {"base", "tensor", "text", "media", "format", "model"},
    "crypto": {"base"},
    "pull": {"base", "crypto", "net"},
    "account": {"base", "crypto"},
    "chat": {"base", "account", "engine/engine.h"},
    "api": {"base", "net", "account", "chat", "engine/engine.h", "media/encode_png.h"},
    "app": {"base", "tensor", "text", "media", "format", "model", "engine", "net", "crypto",
            "account", "chat", "api", "pull"},
}
# A test may also reach what it needs to make its input real.
TEST_LAYERS = {
    "format": {"tensor", "text"},
    "model": {"text"},
    "api": {"text"},
}
# Third-party header (regular expression) -> where it may stand (regular expressions).
WALLS = {
    r"boost/": [r"^src/net/.*\.cc$"],
    r"nlohmann/": [r"^src/base/json\.cc$"],
    r"CLI/": [r"^src/app/command_line\.cc$"],
    r"toml\+\+|toml\.hpp": [r"^src/app/config\.cc$"],
    r"seccomp\.h|linux/landlock\.h": [r"^src/app/seal.*\.cc$", r"^src/media/seal\.cc$"],
    r"png\.h|jpeglib\.h|jerror\.h|webp/": [r"^src/media/.*\.cc$"],
    r"simde/": [r"^src/tensor/simd512\.h$"],
    r"sodium\.h|openssl/": [r"^src/crypto/.*\.cc$"],
    r"gtest/": [r"_test\.cc$", r"_test_.*\.(cc|h)$", r"^src/.*test.*\.(cc|h)$", r"^tests/"],
    r"benchmark/": [r"^bench/"],
    r"llama\.h|ggml.*\.h": [r"^bench/"],
    # Only `nautile pull` reaches the network; the privacy promise is about everything else.
    r"net/client.*\.h": [r"^src/net/(client|answer_parser)", r"^src/pull/",
                         r"^src/app/pull_job\.cc$"],
}
# Parsers of foreign bytes -> the fuzz target that must exist.
FUZZED = {
    "src/text/regex.cc": "src/text/regex_fuzz.cc",
    "src/text/tokenizer.cc": "src/text/tokenizer_fuzz.cc",
    "src/base/json.cc": "src/base/json_fuzz.cc",
    "src/format/gguf.cc": "src/format/gguf_fuzz.cc",
    "src/format/safetensors.cc": "src/format/safetensors_fuzz.cc",
    "src/format/torch_bin.cc": "src/format/torch_bin_fuzz.cc",
    "src/format/torch_pickle.cc": "src/format/torch_bin_fuzz.cc",
    "src/format/stored_zip.cc": "src/format/torch_bin_fuzz.cc",
    "src/format/hf_tensors.cc": "src/format/hf_tensors_fuzz.cc",
    "src/media/png.cc": "src/media/png_fuzz.cc",
    "src/media/jpeg.cc": "src/media/jpeg_fuzz.cc",
    "src/media/webp.cc": "src/media/webp_fuzz.cc",
    "src/media/fit.cc": "src/media/fit_fuzz.cc",
    "src/engine/wire.cc": "src/engine/wire_fuzz.cc",
    "src/net/answer_parser.cc": "src/net/answer_parser_fuzz.cc",
    "src/pull/listing.cc": "src/pull/listing_fuzz.cc",
    "src/app/vectors.cc": "src/app/vectors_fuzz.cc",
}
LINE_COLUMNS_MAX = 100
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 800
# Tables made by a generator: no person reads them line by line.
GENERATED = re.compile(r"(_tables?\.(cc|inc|h)|\.inc|iq_grids.*|package-lock\.json)$")
RATCHET = {}
TEXT_SUFFIXES = {".cc", ".h", ".py", ".ts", ".tsx", ".css", ".cmake", ".sh", ".mjs"}
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
MACHINE_PATH = re.compile(r"/(work|root|home/\w+)/")

errors = []


def report(path, line, text):
    errors.append(f"{path}:{line}: {text}")


def tracked():
    out = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return [name for name in out.stdout.decode().split("\0") if name]


def check_includes(path, lines):
    parts = path.split("/")
    module = parts[1] if parts[0] == "src" and len(parts) > 2 else None
    is_test = bool(re.search(r"_(test|fuzz)[^/]*\.cc$|_test\w*\.h$", path))
    for number, line in enumerate(lines, 1):
        found = re.match(r'\s*#\s*include\s+["<]([^">]+)[">]', line)
        if not found:
            continue
        header = found.group(1)
        for pattern, places in WALLS.items():
            if re.match(pattern, header) and not any(re.search(place, path) for place in places):
                report(path, number, f"<{header}> stays behind its wall ({', '.join(places)})")
        target = header.split("/")[0]
        if module is None or target not in LAYERS or target == module:
            continue
        allowed = set(LAYERS[module])
        if is_test:
            allowed |= TEST_LAYERS.get(module, set())
        if target not in allowed and header not in allowed:
            report(path, number, f"{module} may not include {header} (see LAYERS)")


def function_spans(lines):
    """(first, last) lines of C++ functions: a line that ends a signature with '{' and is not a
    type, namespace or control statement, up to the brace that closes it in the same column."""
    control = re.compile(r"^\s*(if|for|while|switch|else|do|namespace|struct|class|enum|union|"
                         r"extern|return|case|default|try|catch)\b|^\s*(\}|//|#)")
    for start, line in enumerate(lines):
        if not line.rstrip().endswith("{") or control.match(line):
            continue
        head = line
        back = start
        while back > 0 and head.count("(") < head.count(")"):
            back -= 1
            head = lines[back] + head
        if "(" not in head or "=" in head.split("(")[0] or control.match(lines[back]):
            continue
        indent = len(lines[back]) - len(lines[back].lstrip())
        if indent > 2:
            continue
        for end in range(start + 1, len(lines)):
            if lines[end].startswith(" " * indent + "}") and not lines[end].startswith(
                    " " * (indent + 1)):
                yield back, end
                break


def python_spans(lines):
    for start, line in enumerate(lines):
        if not re.match(r"\s*(async )?def ", line):
            continue
        indent = len(line) - len(line.lstrip())
        end = start
        for number in range(start + 1, len(lines)):
            text = lines[number]
            if text.strip() and len(text) - len(text.lstrip()) <= indent and text.strip() != "):":
                break
            if text.strip():
                end = number
        yield start, end


def check_sizes(path, lines):
    if GENERATED.search(path):
        return
    if len(lines) > max(FILE_LINES_MAX, RATCHET.get(path, 0)):
        report(path, 1, f"{len(lines)} lines; at most {max(FILE_LINES_MAX, RATCHET.get(path, 0))}")
    for number, line in enumerate(lines, 1):
        if len(line) > LINE_COLUMNS_MAX and "http" not in line:
            report(path, number, f"{len(line)} columns; at most {LINE_COLUMNS_MAX}")
    spans = []
    if path.endswith((".cc", ".h")):
        spans = function_spans(lines)
    elif path.endswith(".py"):
        spans = python_spans(lines)
    for start, end in spans:
        if end - start + 1 > FUNCTION_LINES_MAX:
            report(path, start + 1,
                   f"a function of {end - start + 1} lines; at most {FUNCTION_LINES_MAX}")


def check_contract(path, lines):
    if not path.startswith("src/") or not path.endswith(".h"):
        return
    if not lines or not lines[0].startswith("//"):
        report(path, 1, "a header opens with its contract")
    if "#pragma once" not in lines:
        report(path, 1, "a header has #pragma once")


def check_coroutines(path, text):
    for found in re.finditer(r"co_await[^;{]*\[[^\]\[]*[&=\w][^\]\[]*\]\s*(\(|\{|mutable)", text):
        line = text.count("\n", 0, found.start()) + 1
        report(path, line, "name the lambda before co_await (g++ 12.2 frees its captures twice)")


def check_words(path, lines):
    for number, line in enumerate(lines, 1):
        if UNFINISHED.search(line):
            report(path, number, "unfinished work is finished or written as an issue")
        if MACHINE_PATH.search(line) and not path.startswith("tests/golden/"):
            report(path, number, "a path of one machine")


def check_file(path):
    full = ROOT / path
    if full.suffix not in TEXT_SUFFIXES and path not in ("run", "check", ".ci/run"):
        return
    if path.startswith(("tests/golden/", "tests/corpus/")) or not full.exists():
        return
    text = full.read_text(encoding="utf-8")
    lines = text.split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    check_sizes(path, lines)
    check_words(path, lines)
    if full.suffix in {".cc", ".h"}:
        check_includes(path, lines)
        check_contract(path, lines)
        check_coroutines(path, text)


def main():
    named = sys.argv[1:]
    paths = named or tracked()
    for path in paths:
        check_file(path)
    if not named:
        for source, target in FUZZED.items():
            if (ROOT / source).exists() and not (ROOT / target).exists():
                report(source, 1, f"{target} is missing")
    for line in errors:
        print(line)
    print(f"tidy: {len(paths)} files, {len(errors)} findings", file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
