#!/usr/bin/env python3
"""Writes expressions.json and nfc.json of this folder, what text/regex and text/nfc are tested by.

usage: pip install tokenizers==0.23.3 unicodedata2==16.0.0 && python3 make_expressions.py

Expressions: the fragments that Hugging Face tokenizers (Oniguruma, Unicode 16) cuts random texts
into, for the expressions of well-known tokenisers and for every construct that text/regex.h names.
NFC: the normal form of random texts by unicodedata2 (Unicode 16).
"""
import json
import pathlib
import random

import unicodedata2
from tokenizers import Regex, pre_tokenizers

SEED = 20261125
TEXTS = 12
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK_V3 = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"
               r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+"
               r"|\s+(?!\S)|\s+")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
         r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"
         r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}"
         r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
EXPRESSIONS = [
    GPT2, LLAMA3, LLAMA3.replace("{1,3}", ""), DEEPSEEK_V3, O200K, r"[\r\n]", r"\s?\p{L}+",
    r"\s?\p{P}+", "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+", r"\p{N}", r"\p{N}+", r"\p{N}{1,3}",
    r"\s+$", r"[\n a]+$", r"^\s+", r"x*", r"(?:ab|a)(?:c|bcd)?", r"a+?b", r"a*+b|a", r"(?>a|ab)c",
    r"\b\w+\b", r"\w+|\W", r"\d+", r"[^a-z]+", r"[a-z&&[^m]]+", r"\h+", r"(?i:k)", r"(?i)s+|t",
    r"a{2}?|b", r"a{,2}b", r"a{2,}?c", r"(a|b)+c", r"(?=[a-c])\w|.", r"(?!a)\w+", r"\A\s|\s\z",
    r".+$", r"^.", r"\p{^L}+", r"\P{L}+", r"x|(?=y)", r"$", r"\B", r"[^\S\n]+", r"[\]\[-]+",
    r"a||b", r"(|a)b", r"(?:)", r"\p{Lu}\p{Ll}*", r"\p{Sc}|\p{Sm}+|\p{Zs}", r"[\w&&\p{N}]+",
    r"a{0}b", r"\u4e2d+|\x41", r"{a", r"a{x}", r"[a-]+", r"(?:a?){3}b", r"\S+", r"[^\W\d]+",
]
POOLS = [
    "ab cABC'sSdDtTmMlLrReEvV 012 \n\r\t.,!?-_$+<", "    \n\n\r\n\t\u3000\u2003\u00a0\u0085 ",
    "你好的我一龥ひらカタ한국ࠀ一", "éàüßſ\u212a\u212bçøĲ", "123٣४½²Ⅷⅰ㊀", "🚀👩\u200d👧⌘→±×÷€¥©®™",
    "\u0301\u0308\u0e33\u0e48กข\u200d\ufe0f\u064b", "αβΓДжЯאבعربي",
    "\x00\x01\x1f\x7f\u0378\ue000\U000e0001\U0010ffff\ufffe", "abcabcaab'll'LL'Ve'ſ'tS", "ⒶⓩAǅᾈʰª",
    "_‿⁀()[]{}«»“”",
]
COMBINING = ["e\u0301\u0327\u0308a\u030a", "\u1100\u1161\u11a8\u11a7", "\uac00\u11a8각",
             "\u212b\u2126\u0344", "\u0958\u09cb\u09c7\u09be", "\u1e9b\u0323\u0307",
             "\u0f73\u0f71\u0f80", "\U0001d15e\U0001d165\u0334", "\uf900\U0002f800",
             "\U00016d63\U00016d67\U00016d67\U000113c2\U000113b8\U000113c9"]


def random_text(draw, pools):
    pool = draw.choice(pools + ["".join(pools)])
    return "".join(draw.choice(pool) for _ in range(draw.choice([1, 2, 3, 5, 8, 13, 30])))


def write(name, value):
    path = pathlib.Path(__file__).resolve().parent / name
    path.write_text(json.dumps(value, ensure_ascii=False, indent=0) + "\n")


def main():
    draw = random.Random(SEED)
    cases = []
    for expression in EXPRESSIONS:
        split = pre_tokenizers.Split(Regex(expression), "isolated")
        for text in [random_text(draw, POOLS) for _ in range(TEXTS)] + [""]:
            fragments = [piece for piece, _ in split.pre_tokenize_str(text)]
            cases.append({"expression": expression, "fragments": fragments})
    write("expressions.json", {
        "meta": {"oracle": "Hugging Face tokenizers 0.23.3, Split, behavior isolated",
                 "script": "make_expressions.py", "seed": SEED,
                 "fields": {"fragments": "joined they are the text"}},
        "cases": cases})
    texts = [random_text(draw, COMBINING + POOLS) for _ in range(600)]
    write("nfc.json", {
        "meta": {"oracle": "unicodedata2 16.0.0, normalize NFC", "script": "make_expressions.py",
                 "seed": SEED},
        "cases": [[text, unicodedata2.normalize("NFC", text)] for text in texts]})


if __name__ == "__main__":
    main()
