"""An FP8 checkpoint of DeepSeek's kind stays FP8 in memory, and computes what the same weights say
as F32: a folder of random blocks (128 by 128, as V3 has them) and its twin, decoded by numpy."""
import json
import os
import pathlib
import shutil
import struct
import subprocess

import numpy
import pytest
from gguf import GGUFReader

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("NAUTILE") or str(ROOT / "build" / "release" / "nautile")
GOLDEN = ROOT / "tests" / "golden" / "model" / "ds-v3-fp8"
BLOCK = 128
SIZES = {"hidden_size": 256, "intermediate_size": 384, "moe_intermediate_size": 128,
         "q_lora_rank": 128, "kv_lora_rank": 128, "qk_nope_head_dim": 32, "qk_rope_head_dim": 32,
         "v_head_dim": 64, "num_attention_heads": 4, "num_key_value_heads": 4,
         "n_routed_experts": 8, "n_shared_experts": 1, "num_experts_per_tok": 2, "n_group": 2,
         "topk_group": 1, "num_hidden_layers": 2, "first_k_dense_replace": 1,
         "num_nextn_predict_layers": 0}


def nautile(*arguments):
    done = subprocess.run([BINARY, *map(str, arguments)], text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def e4m3(codes):
    """OCP 8-bit floating point, E4M3: bias 7, no infinities."""
    exponent, mantissa = codes >> 3 & 15, (codes & 7).astype(numpy.float64)
    value = numpy.where(exponent == 0, mantissa / 8 * 2.0**-6,
                        (1 + mantissa / 8) * numpy.exp2(exponent.astype(numpy.float64) - 7))
    return numpy.where(codes & 0x80, -value, value).astype(numpy.float32)


def matrices():
    """Names and shapes of what V3 keeps as FP8."""
    c = SIZES
    heads, hidden = c["num_attention_heads"], c["hidden_size"]
    for layer in range(c["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        key = c["qk_nope_head_dim"] + c["qk_rope_head_dim"]
        yield at + "self_attn.q_a_proj", (c["q_lora_rank"], hidden)
        yield at + "self_attn.q_b_proj", (heads * key, c["q_lora_rank"])
        yield (at + "self_attn.kv_a_proj_with_mqa",
               (c["kv_lora_rank"] + c["qk_rope_head_dim"], hidden))
        yield (at + "self_attn.kv_b_proj",
               (heads * (c["qk_nope_head_dim"] + c["v_head_dim"]), c["kv_lora_rank"]))
        yield at + "self_attn.o_proj", (hidden, heads * c["v_head_dim"])
        dense = layer < c["first_k_dense_replace"]
        ffn = c["intermediate_size"] if dense else c["moe_intermediate_size"]
        parts = ["mlp."] if dense else [f"mlp.experts.{e}." for e in range(c["n_routed_experts"])]
        for part in parts + ([] if dense else ["mlp.shared_experts."]):
            yield at + part + "gate_proj", (ffn, hidden)
            yield at + part + "up_proj", (ffn, hidden)
            yield at + part + "down_proj", (hidden, ffn)


def others(vocab):
    c = SIZES
    yield "model.embed_tokens.weight", (vocab, c["hidden_size"])
    yield "lm_head.weight", (vocab, c["hidden_size"])
    yield "model.norm.weight", (c["hidden_size"],)
    for layer in range(c["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        yield at + "input_layernorm.weight", (c["hidden_size"],)
        yield at + "post_attention_layernorm.weight", (c["hidden_size"],)
        yield at + "self_attn.q_a_layernorm.weight", (c["q_lora_rank"],)
        yield at + "self_attn.kv_a_layernorm.weight", (c["kv_lora_rank"],)
        if layer >= c["first_k_dense_replace"]:
            yield at + "mlp.gate.weight", (c["n_routed_experts"], c["hidden_size"])
            yield at + "mlp.gate.e_score_correction_bias", (c["n_routed_experts"],)


def save(folder, config, tensors):
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(GOLDEN / name, folder / name)
    (folder / "config.json").write_text(json.dumps(config))
    header, data = {}, []
    at = 0
    for name, (kind, array) in tensors.items():
        raw = array.tobytes()
        header[name] = {"dtype": kind, "shape": list(array.shape),
                        "data_offsets": [at, at + len(raw)]}
        data.append(raw)
        at += len(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data))


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """The checkpoint as FP8, and the same weights as F32."""
    random = numpy.random.default_rng(3)
    config = json.loads((GOLDEN / "config.json").read_text()) | SIZES
    plain, blocks = {}, {}
    for name, shape in others(config["vocab_size"]):
        around = 1 if "norm" in name else 0
        values = (around + random.standard_normal(shape) * 0.1).astype(numpy.float32)
        plain[name] = blocks[name] = ("F32", values)
    for name, (rows, columns) in matrices():
        codes = random.integers(0, 256, (rows, columns), dtype=numpy.uint8)
        codes[codes & 0x7F == 0x7F] ^= 1  # no number
        scales = (random.uniform(2, 9, (-(-rows // BLOCK), columns // BLOCK)) * 1e-4)
        scales = scales.astype(numpy.float32)
        spread = numpy.repeat(numpy.repeat(scales, BLOCK, 0), BLOCK, 1)[:rows]
        blocks[name + ".weight"] = ("F8_E4M3", codes)
        blocks[name + ".weight_scale_inv"] = ("F32", scales)
        plain[name + ".weight"] = ("F32", e4m3(codes) * spread)
    base = tmp_path_factory.mktemp("fp8")
    save(base / "fp8", config, blocks)
    save(base / "f32", {k: v for k, v in config.items() if k != "quantization_config"}, plain)
    return base


@pytest.mark.parametrize("exact", [True, False])
def test_the_twins_compute_the_same(twins, exact, tmp_path):
    ids = tmp_path / "ids.json"
    ids.write_text(json.dumps([1, 17, 5, 99, 201, 42, 8, 3, 77, 11, 250, 6, 31, 64, 128, 2, 19]))
    rows = {}
    for name in ("fp8", "f32"):
        out = tmp_path / f"{name}.f32"
        nautile("logits", twins / name, "--ids", ids, "--rows", "all", "--out", out,
                *(["--exact"] if exact else []))
        rows[name] = numpy.fromfile(out, "<f4")
    assert rows["fp8"].size == 17 * 288
    assert numpy.isfinite(rows["fp8"]).all() and rows["fp8"].std() > 0.01
    assert rows["fp8"].tobytes() == rows["f32"].tobytes()


@pytest.mark.parametrize("exact", [True, False])
def test_the_twins_go_on_alike(twins, exact, tmp_path):
    """Sampled ids attend with absorbed queries, which take other forms of the weights."""
    ids = tmp_path / "ids.json"
    ids.write_text("[1, 17, 5, 99]")
    answers = []
    for name in ("fp8", "f32"):
        options = ["--exact"] if exact else []
        answer = json.loads(nautile("run", twins / name, "--ids", ids, "--temp", "0", "--json",
                                    "--max-tokens", "24", "--ignore-eos", *options))
        answers.append((answer["ids"], answer["logprobs"]))
    assert len(answers[0][0]) == 24
    assert answers[0] == answers[1]


def test_the_weights_stay_eight_bits(twins):
    shown = {name: json.loads(nautile("show", twins / name, "--json")) for name in ("fp8", "f32")}
    needed = {name: about["memory_bytes_for_8k_context"] for name, about in shown.items()}
    stored = sum(rows * columns for _, (rows, columns) in matrices())
    # A scale of 4 bytes for 128 weights; what both hold besides (k_b, turned, as F32) is equal.
    saved = stored * (4 - (1 + 4 / BLOCK))
    assert needed["f32"] - needed["fp8"] == pytest.approx(saved, rel=0.1)


def test_both_give_the_same_quantised_file(twins, tmp_path):
    files = []
    for name in ("fp8", "f32"):
        out = tmp_path / f"{name}.gguf"
        nautile("quantize", twins / name, out, "Q8_0")
        files.append(out)
    tensors = [{t.name: t.data.tobytes() for t in GGUFReader(path).tensors} for path in files]
    assert len(tensors[0]) > 20 and tensors[0] == tensors[1]
