#!/usr/bin/env python3
"""Writes src/text/unicode_tables.cc: the Unicode 16 data that the tokeniser needs.

usage: pip install unicodedata2==16.0.0 && python3 tools/gen_unicode.py

The source is the PyPI package unicodedata2 16.0.0, which carries the Unicode Character Database
16.0.0. Needed are: the general category of every code point, and for NFC the canonical
decompositions (with a mark on those that compose again), the combining classes, and the code
points that can change under NFC (NFC_Quick_Check is not Yes, or the combining class is not 0).
"""
import pathlib
import sys

try:
    import unicodedata2 as ucd
except ImportError:
    sys.exit("gen_unicode: pip install unicodedata2==16.0.0 first")
if ucd.unidata_version != "16.0.0":
    sys.exit(f"gen_unicode: this is Unicode {ucd.unidata_version}; 16.0.0 is needed")

CATEGORIES = ["Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps",
              "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs",
              "Co", "Cn"]
END = 0x110000
LEAF = 64    # code points in a leaf
MIDDLE = 64  # leaves in a middle block
SURROGATES = range(0xD800, 0xE000)


def wrapped(values, width=98):
    lines, line = [], ""
    for value in values:
        piece = f"{value},"
        if len(line) + len(piece) > width:
            lines.append("  " + line)
            line = ""
        line += piece
    return "\n".join(lines + ["  " + line])


def category_trie():
    letters = "".join(chr(ord("a") + CATEGORIES.index(ucd.category(chr(cp)))) for cp in range(END))
    leaves, middles, top = {}, {}, []
    for block in range(0, END, LEAF * MIDDLE):
        middle = []
        for start in range(block, block + LEAF * MIDDLE, LEAF):
            middle.append(leaves.setdefault(letters[start:start + LEAF], len(leaves)))
        top.append(middles.setdefault(tuple(middle), len(middles)))
    return top, [leaf for middle in middles for leaf in middle], "".join(leaves)


def decompositions():
    """(code point, first, second or 0, composes) of every canonical mapping but Hangul's."""
    rows = []
    for cp in range(END):
        mapping = ucd.decomposition(chr(cp)) if cp not in SURROGATES else ""
        if not mapping or mapping.startswith("<"):
            continue
        parts = [int(part, 16) for part in mapping.split()] + [0]
        composes = ucd.normalize("NFC", chr(cp)) == chr(cp)
        rows.append((cp, parts[0], parts[1], composes))
    return rows


def runs(wanted):
    """(first, last, value) of the maximal runs of code points of one value, None left out."""
    out = []
    for cp in range(END):
        value = wanted(cp)
        if value is None:
            continue
        if out and out[-1][1] == cp - 1 and out[-1][2] == value:
            out[-1][1] = cp
        else:
            out.append([cp, cp, value])
    return out


def main():
    top, middle, leaves = category_trie()
    rows = decompositions()
    seconds = {row[2] for row in rows if row[3]} | set(range(0x1161, 0x1176)) | set(
        range(0x11A8, 0x11C3))

    def active(cp):
        if cp in SURROGATES:
            return None
        text = chr(cp)
        changes = ucd.combining(text) or cp in seconds or ucd.normalize("NFC", text) != text
        return True if changes else None

    order = sorted((i for i, row in enumerate(rows) if row[3]), key=lambda i: rows[i][1:3])
    classes = runs(lambda cp: ucd.combining(chr(cp)) or None)
    category_runs = runs(lambda cp: CATEGORIES.index(ucd.category(chr(cp))))
    text = [
        "// Unicode 16.0.0. Written by tools/gen_unicode.py from PyPI unicodedata2 16.0.0; "
        "change the",
        "// script, not this file.",
        '#include "text/unicode_tables.h"',
        "",
        "// clang-format off",
        "namespace text::unicode_tables {",
        "",
        f"const uint8_t category_top[{len(top)}] = {{\n{wrapped(top)}\n}};",
        f"const uint16_t category_middle[{len(middle)}] = {{\n{wrapped(middle)}\n}};",
        f"const char category_leaves[{len(leaves)} + 1] =\n" + "\n".join(
            f'    "{leaves[at:at + 90]}"' for at in range(0, len(leaves), 90)) + ";",
        "",
        f"const uint32_t category_runs[{len(category_runs)}] = {{\n" + wrapped(
            first << 5 | value for first, _, value in category_runs) + "\n};",
        f"const size_t category_run_count = {len(category_runs)};",
        "",
        f"const Decomposition decompositions[{len(rows)}] = {{\n" + wrapped(
            f"{{{cp},{first},{second},{int(composes)}}}"
            for cp, first, second, composes in rows) + "\n};",
        f"const size_t decomposition_count = {len(rows)};",
        f"const uint16_t composition_order[{len(order)}] = {{\n{wrapped(order)}\n}};",
        f"const size_t composition_count = {len(order)};",
        f"const ClassRun class_runs[{len(classes)}] = {{\n" + wrapped(
            f"{{{first},{last},{value}}}" for first, last, value in classes) + "\n};",
        f"const size_t class_run_count = {len(classes)};",
    ]
    changing = runs(active)
    text += [
        f"const ActiveRun active_runs[{len(changing)}] = {{\n" + wrapped(
            f"{{{first},{last}}}" for first, last, _ in changing) + "\n};",
        f"const size_t active_run_count = {len(changing)};",
        "",
        "}  // namespace text::unicode_tables",
        "",
    ]
    out = pathlib.Path(__file__).resolve().parent.parent / "src/text/unicode_tables.cc"
    out.write_text("\n".join(text))
    print(f"{out}: {out.stat().st_size} bytes, {len(leaves) // LEAF} leaves, {len(rows)} mappings")


if __name__ == "__main__":
    main()
