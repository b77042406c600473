"""`nautile quantize` and `nautile verify` for real: tiny models of every family through every type,
read back by the independent reader (PyPI gguf), and held against their reference vectors."""
import json
import os
import pathlib
import signal
import subprocess

import numpy
import pytest
from gguf import GGUFReader, GGUFWriter, quants

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("NAUTILE") or str(ROOT / "build" / "release" / "nautile")
GOLDENS = ROOT / "tests" / "golden" / "model"
FOLDERS = ["llama-gqa", "llama3-tied", "qwen2", "qwen2-tied", "qwen3-yarn", "ds-v2-group",
           "ds-v2-lite", "ds-v3", "ds-v3-fp8", "kimi-like"]
TYPES = ["Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "Q3_K_M", "Q2_K"]


def nautile(*arguments, rc=0):
    done = subprocess.run([BINARY, *map(str, arguments)], text=True, capture_output=True)
    assert done.returncode == rc, done.stdout + done.stderr
    return done


def wide_model(path):
    """A Llama of one layer whose rows hold whole K blocks, and one narrow tensor that cannot."""
    random = numpy.random.default_rng(11)
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(256)
    writer.add_feed_forward_length(288)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([f"t{i}" for i in range(64)])
    writer.add_token_merges(["t 0"])
    shapes = {"token_embd": (64, 256), "output_norm": (256,), "output": (64, 256),
              "blk.0.attn_norm": (256,), "blk.0.ffn_norm": (256,), "blk.0.attn_q": (256, 256),
              "blk.0.attn_k": (128, 256), "blk.0.attn_v": (128, 256),
              "blk.0.attn_output": (256, 256), "blk.0.ffn_gate": (288, 256),
              "blk.0.ffn_up": (288, 256), "blk.0.ffn_down": (256, 288)}
    weights = {}
    for name, shape in shapes.items():
        values = (random.standard_t(5, shape) * 0.05).astype(numpy.float32)
        weights[name + ".weight"] = values
        writer.add_tensor(name + ".weight", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights


@pytest.mark.parametrize("kind", TYPES)
def test_the_independent_reader_decodes_what_is_written(kind, tmp_path):
    """The report's error per tensor is that of the independent reader's values."""
    weights = wide_model(tmp_path / "wide.gguf")
    report = json.loads(nautile("quantize", tmp_path / "wide.gguf", tmp_path / "out.gguf", kind,
                                "--json").stdout)
    stated = {tensor["name"]: tensor for tensor in report["tensors"]}
    reader = GGUFReader(str(tmp_path / "out.gguf"))
    assert report["bytes_after"] == (tmp_path / "out.gguf").stat().st_size
    assert len(reader.tensors) == len(weights)
    for tensor in reader.tensors:
        values = quants.dequantize(tensor.data, tensor.tensor_type).astype(numpy.float64)
        true = weights[tensor.name].astype(numpy.float64)
        error = numpy.sqrt(((values - true) ** 2).sum() / (true ** 2).sum())
        assert tensor.tensor_type.name == stated[tensor.name]["to"]
        assert abs(error - stated[tensor.name]["relative_rms_error"]) <= 1e-6 * max(error, 1e-3)
        if "norm" in tensor.name:
            assert tensor.tensor_type.name == "F32" and error == 0
    # 288 is no multiple of 256: the field's next type.
    assert stated["blk.0.ffn_down.weight"]["to"] in {"Q8_0", "Q5_0", "Q5_1", "Q4_0"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_folders_become_files_that_agree_with_their_vectors(folder, tmp_path):
    out = tmp_path / f"{folder}.gguf"
    nautile("quantize", GOLDENS / folder, out, "q8_0")
    shipped = json.loads(nautile("verify", out, "--json").stdout)
    assert shipped["passed"] and shipped["vectors"].endswith(f"/{folder}.json")
    assert shipped["top1_agreement"] > 0.8 and shipped["tokens_per_s"] > 0
    text = "Bonjour, hello 1234 and <|im_end|>!"
    ids = [subprocess.run([BINARY, "tokenize", str(model), "--special"], input=text, text=True,
                          capture_output=True, check=True).stdout
           for model in (out, GOLDENS / folder)]
    assert ids[0] == ids[1]


@pytest.mark.parametrize("folder", FOLDERS)
def test_exact_mode_meets_the_oracle(folder):
    report = json.loads(nautile("verify", GOLDENS / folder, "--vectors", GOLDENS / folder,
                                "--exact", "--json").stdout)
    assert report["judged_by"] == "worst_difference" and report["passed"]


@pytest.mark.parametrize("folder", ["janus-hf", "janus-original"])
def test_janus_becomes_one_file_that_says_what_it_is(folder, tmp_path):
    out = tmp_path / f"{folder}.gguf"
    nautile("quantize", GOLDENS / folder, out, "Q4_K_M")
    file, source = (json.loads(nautile("show", model, "--json").stdout)
                    for model in (out, GOLDENS / folder))
    assert file["architecture"] == source["architecture"] == "janus"
    assert file["quantization"] == "Q4_K_M" and file["parameters"] == source["parameters"]
    for key in ("picture_pixels", "picture_tokens", "drawn_pixels", "image_codes"):
        assert file[key] == source[key] > 0
    reader = GGUFReader(str(out))
    names = {tensor.name for tensor in reader.tensors}
    assert {"blk.0.attn_q.weight", "vision.layers.0.qkv.weight", "vq.codebook.weight"} <= names


def test_a_dry_run_writes_nothing_and_says_so(tmp_path):
    wide_model(tmp_path / "m.gguf")
    done = nautile("quantize", tmp_path / "m.gguf", tmp_path / "o.gguf", "Q8_0", "--dry-run")
    assert "Nothing is written" in done.stdout and not (tmp_path / "o.gguf").exists()


def test_fewer_bits_lose_more(tmp_path):
    losses = []
    for kind in ("Q8_0", "Q4_0"):
        out = tmp_path / f"llama-gqa.{kind}.gguf"
        nautile("quantize", GOLDENS / "llama-gqa", out, kind)
        losses.append(json.loads(nautile("verify", out, "--max-kl", "9", "--json").stdout))
    assert losses[0]["kl_mean"] < losses[1]["kl_mean"]


def test_a_wrong_model_fails(tmp_path):
    """Two rows of the embedding swapped: still a model, no longer this one."""
    data = bytearray((GOLDENS / "qwen2" / "model.gguf").read_bytes())
    reader = GGUFReader(str(GOLDENS / "qwen2" / "model.gguf"))
    layer = next(t for t in reader.tensors if t.name == "blk.0.attn_v.weight")
    start, size = int(layer.data_offset), int(layer.n_bytes)
    data[start:start + size // 2], data[start + size // 2:start + size] = \
        data[start + size // 2:start + size], data[start:start + size // 2]
    (tmp_path / "qwen2.gguf").write_bytes(data)
    done = nautile("verify", tmp_path / "qwen2.gguf", rc=1)
    assert "FAILED" in done.stdout


def test_written_vectors_are_met_and_are_of_one_model(tmp_path):
    vectors = tmp_path / "v.json"
    (tmp_path / "page.txt").write_text("What is written here is read by a very small model. " * 4)
    model = GOLDENS / "llama-gqa"
    nautile("verify", model, "--write", vectors, "--text", tmp_path / "page.txt", "--origin", "me")
    report = json.loads(nautile("verify", model, "--vectors", vectors, "--exact",
                                "--json").stdout)
    assert report["passed"] and report["origin"] == "me" and report["worst_difference"] < 1e-4
    assert report["ppl"] == pytest.approx(report["ppl_reference"], rel=1e-5)
    refused = nautile("verify", GOLDENS / "qwen2", "--vectors", vectors, rc=3)
    assert "another model" in refused.stderr


JANUS = ["janus-hf", "janus-original"]
PARTS = ["text", "embeds", "codes", "levels"]


def checks_of(report):
    return {check["part"]: check for check in report["checks"]}


@pytest.mark.parametrize("folder", JANUS)
def test_a_model_that_sees_and_draws_meets_its_vectors_both_ways(folder, tmp_path):
    """The shipped ones and the golden's folder; from the folder and from one file of it."""
    out = tmp_path / "janus.gguf"
    nautile("quantize", GOLDENS / folder, out, "Q8_0")
    for model in (GOLDENS / folder, out):
        for vectors in ((), ("--vectors", GOLDENS / "janus-hf")):
            exact = json.loads(nautile("verify", model, *vectors, "--exact", "--json").stdout)
            assert exact["passed"] and list(checks_of(exact)) == PARTS
            assert all(check["by_tolerance"] for check in exact["checks"])
            assert exact["codes"]["same"] == exact["codes"]["codes"] == 36
            usual = json.loads(nautile("verify", model, *vectors, "--json").stdout)
            assert usual["passed"] and not checks_of(usual)["codes"]["by_tolerance"]
            assert not vectors or usual["embeds"]["numbers"] == 5 * 36 * 52
            assert vectors or usual["vectors"].endswith("/janus.json")
    text = nautile("verify", model).stdout
    assert text.count("Passed") == len(PARTS) and "pictures seen" in text


def changed_janus(to, prefix, change=lambda value: -value):
    """The golden with the weights of one tensor changed: bf16 words, each on its own."""
    to.mkdir()
    for path in (GOLDENS / "janus-hf").iterdir():
        if path.suffix == ".json":
            (to / path.name).write_bytes(path.read_bytes())
    data = bytearray((GOLDENS / "janus-hf" / "model.safetensors").read_bytes())
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + size])
    tensor = header[prefix]
    assert tensor["dtype"] == "BF16"
    begin, end = (8 + size + at for at in tensor["data_offsets"])
    words = numpy.frombuffer(data[begin:end], "<u2").astype(numpy.uint32) << 16
    values = change(words.view(numpy.float32))
    changed = values.astype(numpy.float32).view(numpy.uint32) >> 16
    data[begin:end] = changed.astype("<u2").tobytes()
    (to / "model.safetensors").write_bytes(data)
    return to


@pytest.mark.parametrize("tensor, broken", [
    ("model.vision_model.encoder.layers.1.mlp.fc2.weight", {"text", "embeds"}),
    ("model.vision_model.embeddings.position_embedding.weight", {"text", "embeds"}),
    ("model.aligner.hidden_layers.0.weight", {"text", "embeds"}),
    ("model.vqmodel.decoder.mid.block_1.conv1.weight", {"levels"}),
    ("model.vqmodel.quantize.embedding.weight", {"levels"}),
    ("model.generation_head.vision_head.weight", {"codes"}),
    ("model.generation_aligner.fc1.weight", {"codes"})])
def test_a_part_that_was_changed_fails_and_is_named(tensor, broken, tmp_path):
    """In either direction; and what does not hang on the part still passes."""
    model = changed_janus(tmp_path / "janus", tensor)
    for exact in ((), ("--exact",)):
        report = json.loads(nautile("verify", model, *exact, "--json", rc=1).stdout)
        failed = {part for part, check in checks_of(report).items() if not check["passed"]}
        assert not report["passed"] and failed <= broken
        assert failed & (broken - {"text"}), report["checks"]
    assert "FAILED" in nautile("verify", model, rc=1).stdout


def test_a_small_change_is_seen_in_exact_mode(tmp_path):
    """One weight of the tower and one of the picture decoder, by an eighth of the largest."""
    def nudged(values):
        values = values.copy()
        values[7] += 0.125 * abs(values).max()
        return values

    tower = changed_janus(tmp_path / "janus-tower",
                          "model.vision_model.encoder.layers.0.mlp.fc1.weight", nudged)
    report = json.loads(nautile("verify", tower, "--exact", "--json", rc=1).stdout)
    assert not checks_of(report)["embeds"]["passed"]
    decoder = changed_janus(tmp_path / "janus-decoder", "model.vqmodel.decoder.conv_in.weight",
                            lambda values: values * 1.03)
    report = json.loads(nautile("verify", decoder, "--exact", "--json", rc=1).stdout)
    assert not checks_of(report)["levels"]["passed"]


def test_vectors_of_a_janus_are_written_both_ways(tmp_path):
    vectors = tmp_path / "v.json"
    (tmp_path / "page.txt").write_text("the sea is deep and dark " * 4)
    write = ("--write", vectors, "--text", tmp_path / "page.txt")
    nautile("verify", GOLDENS / "janus-original", *write)
    written = json.loads(vectors.read_text())
    assert written["version"] == 2 and written["model"]["codes"] == 256
    assert len(written["prompts"]) == 2 and "shown" in written["prompts"][1]
    assert all(len(written[key]) == 1 for key in ("pictures", "drawings", "grids"))
    report = json.loads(nautile("verify", GOLDENS / "janus-hf", "--vectors", vectors, "--exact",
                                "--json").stdout)
    assert report["passed"] and list(checks_of(report)) == PARTS
    assert report["embeds"]["worst_difference"] < 1e-5
    assert report["levels"]["worst_difference"] == 0
    assert report["codes"]["same"] == report["codes"]["codes"] == 24
    usual = json.loads(nautile("verify", GOLDENS / "janus-hf", "--vectors", vectors,
                               "--json").stdout)
    assert usual["passed"]
    changed = changed_janus(tmp_path / "janus",
                            "model.vision_model.encoder.layers.1.mlp.fc2.weight")
    nautile("verify", changed, "--vectors", vectors, rc=1)
    # With a picture and a description of one's own.
    nautile("verify", GOLDENS / "janus-hf", *write, "--image", GOLDENS / "janus-hf" / "strip.png",
            "--draw", "a ship")
    own = json.loads(vectors.read_text())
    assert own["pictures"][0]["file"] != written["pictures"][0]["file"]
    assert own["drawings"][0]["with"] != written["drawings"][0]["with"]
    nautile("verify", GOLDENS / "janus-original", "--vectors", vectors, "--exact")
    refused = nautile("verify", GOLDENS / "qwen2", *write, "--draw", "a ship", rc=2)
    assert "neither sees nor draws" in refused.stderr
    refused = nautile("verify", GOLDENS / "qwen2", "--vectors", vectors, rc=3)
    assert "another model" in refused.stderr


def test_vectors_of_pictures_that_do_not_fit_the_model_are_refused(tmp_path):
    shipped = json.loads((ROOT / "share" / "vectors" / "janus.json").read_text())

    def refused(spoil):
        vectors = json.loads(json.dumps(shipped))
        spoil(vectors)
        (tmp_path / "v.json").write_text(json.dumps(vectors))
        return nautile("verify", GOLDENS / "janus-hf", "--vectors", tmp_path / "v.json",
                       rc=3).stderr

    def last_place(vectors):
        prompt = vectors["prompts"][0]
        prompt["shown"][0]["at"] = len(prompt["ids"]) - 3

    assert "needs 36" in refused(last_place)
    assert "row 36" in refused(lambda v: v["pictures"][0]["embeds"][-1].update(row=36))
    assert "6 by 6" in refused(lambda v: v["grids"][0]["codes"].pop())
    assert "levels" in refused(lambda v: v["grids"][0].update(step=5))
    assert "cannot be read" in refused(lambda v: v["pictures"][0].update(file="AAAA"))


def test_nothing_is_overwritten_unasked_and_nothing_is_left(tmp_path):
    out = tmp_path / "out.gguf"
    out.write_text("mine")
    refused = nautile("quantize", GOLDENS / "qwen2", out, "Q8_0", rc=2)
    assert "--force" in refused.stderr and out.read_text() == "mine"
    nautile("quantize", GOLDENS / "qwen2", out, "Q8_0", "--force")
    assert out.read_bytes()[:4] == b"GGUF"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.gguf"]
    assert "choose one of" in nautile("quantize", GOLDENS / "qwen2", out, "Q9", rc=2).stderr


def test_a_text_that_cannot_be_measured_is_refused_before_anything_is_written(tmp_path):
    out, page = tmp_path / "out.gguf", tmp_path / "page.txt"
    for bytes_, said in ((b"", "empty"), (b"caf\xe9", "byte 3")):
        page.write_bytes(bytes_)
        refused = nautile("quantize", GOLDENS / "qwen2", out, "Q8_0", "--text", page, rc=3)
        assert said in refused.stderr and not out.exists()


def test_killed_it_leaves_no_file_of_that_name(tmp_path):
    weights = tmp_path / "wide.gguf"
    wide_model(weights)
    out = tmp_path / "out.gguf"
    process = subprocess.Popen([BINARY, "quantize", weights, out, "Q2_K"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if out.exists():  # it was quicker than the signal
        assert len(GGUFReader(str(out)).tensors) == 12
    nautile("quantize", weights, out, "Q2_K", "--force")
    assert len(GGUFReader(str(out)).tensors) == 12
    assert not (tmp_path / "out.gguf.partial").exists()
