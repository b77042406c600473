#!/usr/bin/env python3
"""Turns the built site into one C++ source: every file with its type, hash and gzip form.

usage: embed_web.py DIST OUT.cc      (DIST empty or absent: an empty table)

The output is the same for the same files: no times, names sorted, gzip without a timestamp.
"""
import gzip
import hashlib
import pathlib
import re
import sys

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
    ".webmanifest": "application/manifest+json; charset=utf-8",
    ".woff2": "font/woff2",
    ".png": "image/png",
}
# A compressed form is kept only where it saves at least this share.
SAVING_MIN = 0.05
LITERAL_BYTES = 64  # of each line of a string literal
HASHED_NAME = re.compile(r"^/assets/.+-[\w-]{8}\.\w+$")

HEAD = """// Made by tools/embed_web.py from the built site; not kept in the repository.
#include "web/site_files.h"

#include <iterator>
#include <string_view>

namespace web {
namespace {

using std::string_view_literals::operator""sv;
"""

TAIL = """
}  // namespace

const api::StaticFiles& site_files() {
  static const api::StaticTable table(files);
  return table;
}

}  // namespace web
"""


def literal(data):
    """The bytes as adjacent string literals. Octal escapes of three digits cannot run on."""
    lines = []
    for start in range(0, len(data), LITERAL_BYTES):
        piece = data[start:start + LITERAL_BYTES]
        lines.append('"' + "".join(escaped(byte) for byte in piece) + '"')
    return "\n    ".join(lines) + "sv" if lines else '""sv'


def escaped(byte):
    if 32 <= byte < 127 and chr(byte) not in '"\\?':
        return chr(byte)
    return f"\\{byte:03o}"


def compressed(data):
    packed = gzip.compress(data, compresslevel=9, mtime=0)
    return packed if len(packed) <= len(data) * (1 - SAVING_MIN) else b""


def main():
    dist, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    files = sorted(path for path in dist.rglob("*") if path.is_file()) if dist.is_dir() else []
    rows, constants = [], []
    for number, path in enumerate(files):
        if path.suffix not in TYPES:
            sys.exit(f"embed_web.py: no content type is known for {path}; add it to TYPES")
        data = path.read_bytes()
        name = "/" + path.relative_to(dist).as_posix()
        tag = hashlib.sha256(data).hexdigest()[:32]
        packed = compressed(data)
        constants.append(f"constexpr std::string_view bytes_{number} =\n    {literal(data)};\n")
        constants.append(f"constexpr std::string_view gzip_{number} =\n    {literal(packed)};\n")
        hashed = "true" if HASHED_NAME.match(name) else "false"
        rows.append(f'    {{"{name}", "{TYPES[path.suffix]}", bytes_{number}, gzip_{number}, '
                    f'"\\"{tag}\\"", {hashed}}},')
    if rows:
        table = "constexpr api::StaticFile files[] = {\n" + "\n".join(rows) + "\n};\n"
    else:
        table = "constexpr std::span<const api::StaticFile> files;\n"
    text = HEAD + "\n" + "\n".join(constants) + "\n" + table + TAIL
    out.parent.mkdir(parents=True, exist_ok=True)
    if not out.exists() or out.read_text() != text:
        out.write_text(text)


if __name__ == "__main__":
    main()
