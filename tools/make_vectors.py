#!/usr/bin/env python3
"""Writes the reference vectors that ship with the program from the goldens, origin kept.

usage: make_vectors.py [--check]      (--check: exit code 1 if a file is not what would be written)

tests/golden/model/NAME/{config.json,expected.json,expected.bin} -> share/vectors/NAME.json, in the
format at the head of src/app/vectors.cc. Whole rows, for vocabularies of a few hundred ids; for
others what the golden lists. Only prompts of at most IDS_MAX ids, so that verifying stays quick.

janus-hf -> janus.json, for janus-original too: the same weights under other names. The pictures of
its prompts (the files, and a part of the rows that they become), the codes that it draws, and what
two grids are decoded to.
"""
import base64
import json
import math
import pathlib
import struct
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDENS = ROOT / "tests" / "golden" / "model"
OUT = ROOT / "share" / "vectors"
IDS_MAX = 300
ARCHITECTURES = {"LlamaForCausalLM": "llama", "Qwen2ForCausalLM": "qwen2",
                 "Qwen3ForCausalLM": "qwen3", "DeepseekForCausalLM": "deepseek",
                 "DeepseekV2ForCausalLM": "deepseek2", "DeepseekV3ForCausalLM": "deepseek2"}
STARTER = "smollm2-135m-q4_1"
JANUS = "janus-hf"
EMBEDS_STEP = 3  # every third row of a picture


def log_sum(logits):
    most = max(logits)
    return most + math.log(sum(math.exp(value - most) for value in logits))


def whole_row(position, logits):
    order = sorted(range(len(logits)), key=lambda i: (-logits[i], i))
    return {"position": position, "log_sum": round(log_sum(logits), 6), "ids": order,
            "logits": [round(logits[i], 6) for i in order]}


def prompts_of(expected, binary):
    for prompt in expected["prompts"]:
        if len(prompt["ids"]) > IDS_MAX:
            continue
        rows = []
        if "logit_positions" in prompt:
            tensor = expected["tensors"][prompt["logits"]]
            count, vocab = tensor["shape"]
            for i in range(count):
                at = tensor["offset"] + i * vocab * 4
                logits = struct.unpack(f"<{vocab}f", binary[at:at + vocab * 4])
                rows.append(whole_row(prompt["logit_positions"][i], logits))
        else:
            for row in prompt["positions"]:
                rows.append({"position": row["position"], "log_sum": round(row["logsumexp"], 6),
                             "ids": row["top20_ids"], "logits": row["top20_logits"]})
        yield {"ids": prompt["ids"], "rows": rows}


def origin_of(meta):
    versions = ", ".join(f"{name} {number}" for name, number in meta["versions"].items())
    origin = f"{meta['oracle']}; {versions}; {meta['script']}"
    if "seed" in meta:
        origin += f", seed {meta['seed']}"
    return origin


class Tensors:
    def __init__(self, expected, binary):
        self.all, self.binary = expected["tensors"], binary

    def bytes(self, name):
        tensor = self.all[name]
        return self.binary[tensor["offset"]:tensor["offset"] + tensor["bytes"]]

    def rows(self, name):
        """The rows of a tensor's last dimension."""
        width = self.all[name]["shape"][-1]
        data = self.bytes(name)
        return [struct.unpack_from(f"<{width}f", data, at) for at in range(0, len(data), 4 * width)]


def janus_vectors(folder):
    expected = json.loads((folder / "expected.json").read_text())
    config = json.loads((folder / "config.json").read_text())
    tensors = Tensors(expected, (folder / "expected.bin").read_bytes())
    names = [name for name in expected["vision"]["order"]
             if any(name in prompt["pictures"] for prompt in expected["understanding"])]
    files = {one["name"]: one["file"] for one in expected["preprocess"]["pictures"]}
    aligned = tensors.rows(expected["vision"]["aligner"])
    tokens = len(aligned) // len(expected["vision"]["order"])
    placeholder = expected["tokenizer_golden"]["special_ids"]["<image_placeholder>"]
    pictures, prompts = [], []
    for name in names:
        first = expected["vision"]["order"].index(name) * tokens
        pictures.append({
            "file": base64.b64encode((folder / files[name]).read_bytes()).decode(),
            "embeds": [{"row": row, "values": [round(x, 6) for x in aligned[first + row]]}
                       for row in range(0, tokens, EMBEDS_STEP)]})
    for prompt in expected["understanding"]:
        rows = zip(prompt["logit_positions"], tensors.rows(prompt["logits"]))
        one = {"ids": prompt["ids"], "rows": [whole_row(*row) for row in rows]}
        places, at = [], 0
        for name in prompt["pictures"]:
            at = prompt["ids"].index(placeholder, at)
            places.append({"at": at, "picture": names.index(name)})
            at += tokens
        if places:
            one["shown"] = places
        prompts.append(one)
    generation = expected["generation"]
    drawing = {"with": generation["cond_ids"], "without": generation["uncond_ids"],
               "guidance": generation["cfg_weight"], "codes": generation["greedy_codes"],
               "rows": [whole_row(step, row) for step, row in
                        enumerate(tensors.rows(generation["cfg_logits_first_8"]))]}
    grids = [{"codes": grid["codes"], "step": 1,
              "levels": base64.b64encode(tensors.bytes(grid["u8_hwc"])).decode()}
             for grid in expected["decode"]["grids"]]
    text = config["text_config"]
    return {"format": "nautile-vectors", "version": 2, "origin": origin_of(expected["meta"]),
            "weights": "F32",
            "model": {"name": "janus", "architecture": "janus",
                      "layers": text["num_hidden_layers"], "hidden": text["hidden_size"],
                      "vocab": text["vocab_size"],
                      "codes": config["vq_config"]["num_embeddings"]},
            # meta.tolerance says these in words.
            "tolerance": 5e-4, "tolerance_embeds": 2e-4, "tolerance_codes": 5e-3,
            "prompts": prompts, "pictures": pictures, "drawings": [drawing], "grids": grids}


def vectors_of(folder):
    if folder.name == JANUS:
        return janus_vectors(folder)
    expected = json.loads((folder / "expected.json").read_text())
    meta = expected["meta"]
    origin = origin_of(meta)
    if folder.name == STARTER:
        config = expected["config"]
        name, weights, tolerance = "SmolLM2", "Q4_1", 5e-3
        origin += f"; {meta['file']['source']}, sha256 {meta['file']['sha256']}"
    else:
        config = json.loads((folder / "config.json").read_text())
        name, weights = folder.name, "F32"
        tolerance = meta["tolerance"]["recommended_max_abs_logits"]
    architecture = ARCHITECTURES[config.get("architectures", ["LlamaForCausalLM"])[0]]
    return {"format": "nautile-vectors", "version": 1, "origin": origin, "weights": weights,
            "model": {"name": name, "architecture": architecture,
                      "layers": config["num_hidden_layers"], "hidden": config["hidden_size"],
                      "vocab": config["vocab_size"]},
            "tolerance": tolerance,
            "prompts": list(prompts_of(expected, (folder / "expected.bin").read_bytes()))}


def main():
    check = sys.argv[1:] == ["--check"]
    OUT.mkdir(parents=True, exist_ok=True)
    wrong = 0
    for folder in sorted(GOLDENS.iterdir()):
        if not (folder / "expected.bin").exists():
            continue
        text = json.dumps(vectors_of(folder), ensure_ascii=False, separators=(",", ":")) + "\n"
        path = OUT / ("janus.json" if folder.name == JANUS else f"{folder.name}.json")
        if check and (not path.exists() or path.read_text() != text):
            print(f"{path.relative_to(ROOT)} is not what the goldens say")
            wrong += 1
        if not check:
            path.write_text(text)
            print(f"{path.relative_to(ROOT)}: {len(text)} bytes")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
