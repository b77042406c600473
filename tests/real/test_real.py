"""Fidelity on real weights: Qwen2.5-Coder-0.5B-Instruct Q4_K_M (tools/fetch.py real-0.5b) against
transformers in f32 on the same dequantised weights (tests/golden/real, with its origin).

Quantised activations: perplexity within 1 %, top-1 equal wherever the oracle's margin is over 0.5.
Exact mode: the oracle's own numbers, to rounding.
"""
import json
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
NAUTILE = os.environ["NAUTILE"]
MODEL = pathlib.Path(os.environ["NAUTILE_FETCH_DIR"]) / "real" / \
    "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"
GOLDEN = json.loads((ROOT / "tests/golden/real/qwen2.5-coder-0.5b-q4_k_m.json").read_text())
MARGIN_QUANTISED = 0.5
MARGIN_EXACT = 0.01


def nautile(*arguments, stdin=""):
    done = subprocess.run([NAUTILE, *map(str, arguments)], input=stdin, text=True,
                          capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def measure(text, *flags):
    return json.loads(nautile("perplexity", MODEL, "--ids", "-", "--top1", *flags,
                              stdin=json.dumps(text["ids"])))


@pytest.mark.parametrize("text", GOLDEN["texts"], ids=lambda text: text["name"])
def test_vocabulary(text):
    ids = json.loads(nautile("tokenize", MODEL, "--special", stdin=text["text"]))
    assert ids == text["ids"]


@pytest.mark.parametrize("text", GOLDEN["texts"], ids=lambda text: text["name"])
def test_quantised_activations(text):
    measured = measure(text)
    for position, (mine, theirs, margin) in enumerate(
            zip(measured["top1"], text["argmax"], text["margin"])):
        if margin > MARGIN_QUANTISED:
            assert mine == theirs, f"position {position}, margin {margin}"


def test_perplexity_within_one_percent():
    sums, counts = [0.0, 0.0], 0
    for text in GOLDEN["texts"]:
        count = len(text["ids"]) - 1
        sums[0] += measure(text)["nll_mean"] * count
        sums[1] += text["nll_mean"] * count
        counts += count
    ratio = 2.718281828 ** ((sums[0] - sums[1]) / counts)
    assert abs(ratio - 1) < 0.01, ratio


@pytest.mark.parametrize("text", GOLDEN["texts"], ids=lambda text: text["name"])
def test_exact_mode(text):
    measured = measure(text, "--exact")
    assert measured["nll_mean"] == pytest.approx(text["nll_mean"], rel=1e-4)
    for mine, theirs, margin in zip(measured["top1"], text["argmax"], text["margin"]):
        if margin > MARGIN_EXACT:
            assert mine == theirs


@pytest.mark.parametrize("text", GOLDEN["texts"], ids=lambda text: text["name"])
def test_greedy_continuation(text):
    """Equal up to the first near-tie of the oracle."""
    out = json.loads(nautile("run", MODEL, "--ids", "-", "--json", "--temp", "0", "--ignore-eos",
                             "--max-tokens", len(text["greedy"]), "--exact",
                             stdin=json.dumps(text["ids"])))
    for mine, theirs, margin in zip(out["ids"], text["greedy"], text["greedy_margin"]):
        if margin < MARGIN_EXACT:
            break
        assert mine == theirs
