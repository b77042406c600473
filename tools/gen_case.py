#!/usr/bin/env python3
"""Writes src/text/case_tables.cc: how Python maps characters to upper and lower case.

  gen_case.py > src/text/case_tables.cc

Templates are written against Python's str.upper and str.lower, so Python itself is the source. Runs
of characters with one difference and one stride are one line; the few characters that become
several (ß -> SS) are listed apart.
"""
import sys
import unicodedata


def runs(mapping):
    """(first, last, stride, delta) of single-character mappings."""
    out = []
    for cp in sorted(mapping):
        delta = mapping[cp] - cp
        if out:
            first, last, stride, d = out[-1]
            if d == delta and (cp - last == stride or (first == last and cp - last in (1, 2))):
                out[-1] = (first, cp, cp - last, d)
                continue
        out.append((cp, cp, 1, delta))
    return out


def table(name, change):
    single, several = {}, {}
    for cp in range(0x110000):
        if 0xD800 <= cp < 0xE000:
            continue
        to = change(chr(cp))
        if to == chr(cp):
            continue
        if len(to) == 1:
            single[cp] = ord(to)
        else:
            several[cp] = to
    print(f"const CaseRun {name}_runs[] = {{")
    for first, last, stride, delta in runs(single):
        print(f"    {{0x{first:X}, 0x{last:X}, {stride}, {delta}}},")
    print("};")
    print(f"const size_t {name}_runs_size = std::size({name}_runs);")
    print(f"const CaseExpansion {name}_expansions[] = {{")
    for cp, to in several.items():
        text = "".join(f"\\x{b:02x}" for b in to.encode())
        print(f'    {{0x{cp:X}, "{text}"}},')
    print("};")
    print(f"const size_t {name}_expansions_size = std::size({name}_expansions);\n")


print("// Made by tools/gen_case.py from Python %d.%d (Unicode %s). Do not edit." %
      (sys.version_info[0], sys.version_info[1], unicodedata.unidata_version))
print('#include "text/case_tables.h"\n\n#include <iterator>\n\nnamespace text {\n')
table("upper", str.upper)
table("lower", str.lower)
print("}  // namespace text")
