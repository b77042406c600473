#!/usr/bin/env python3
"""Makes this folder: FP8 matrices with block scales, and what numpy and ml_dtypes say they are.

  pip install numpy ml_dtypes && python3 make.py

blocks-128/, blocks-2x3/ and ue8m0/ are directories in Hugging Face layout (a config.json with nothing but quantization_config, and the
weights); expected.safetensors beside each holds the same names as F32. ds-v3-fp8.json holds, for every FP8 tensor of
../model/ds-v3-fp8 under its normal name (the experts of a layer stacked), its shape and the FNV-1a hash of its f32 bytes.
"""
import json, pathlib, struct
import ml_dtypes, numpy as np

here = pathlib.Path(__file__).resolve().parent
E4M3, E8M0, BF16 = ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e8m0fnu, ml_dtypes.bfloat16
NAMES = {np.dtype(E4M3): "F8_E4M3", np.dtype(E8M0): "F8_E8M0", np.dtype(BF16): "BF16", np.dtype(np.float32): "F32"}
TYPES = {name: dtype for dtype, name in NAMES.items()}


def save(path, tensors):
    header, data = {}, b""
    for name, a in tensors.items():
        raw = a.tobytes()
        header[name] = {"dtype": NAMES[a.dtype], "shape": list(a.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def load(path):
    raw = path.read_bytes()
    n = struct.unpack("<Q", raw[:8])[0]
    out = {}
    for name, t in json.loads(raw[8:8 + n]).items():
        if name != "__metadata__":
            b, e = t["data_offsets"]
            out[name] = np.frombuffer(raw[8 + n + b:8 + n + e], TYPES[t["dtype"]]).reshape(t["shape"])
    return out


def dequantised(q, s, block):
    rows, columns = q.shape
    spread = np.repeat(np.repeat(s.astype(np.float32), block[0], 0), block[1], 1)[:rows, :columns]
    return q.astype(np.float32) * spread


def folder(name, block, shapes, scale_type, rng, settings):
    weights, expected = {}, {}
    for i, (rows, columns) in enumerate(shapes):
        codes = rng.integers(0, 256, (rows, columns), dtype=np.uint8)
        codes[codes & 0x7F == 0x7F] = 0x7E  # no NaN
        q = codes.view(E4M3)
        grid = (-(-rows // block[0]), -(-columns // block[1]))
        s = np.exp2(rng.uniform(-20, 4, grid))
        s = np.exp2(np.round(np.log2(s))).astype(scale_type) if scale_type == E8M0 else s.astype(scale_type)
        weights[f"model.layers.{i}.mlp.up_proj.weight"] = q
        weights[f"model.layers.{i}.mlp.up_proj.weight_scale_inv"] = s
        expected[f"model.layers.{i}.mlp.up_proj.weight"] = dequantised(q, s, block)
    save(here / name / "model.safetensors", weights)
    save(here / name / "expected.safetensors", expected)
    config = {"quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": list(block)} | settings}
    (here / name / "config.json").write_text(json.dumps(config) + "\n")


def fnv1a(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def main():
    rng = np.random.default_rng(4)
    folder("blocks-128", (128, 128), [(130, 136), (128, 128), (1, 300)], np.float32, rng, {})
    folder("blocks-2x3", (2, 3), [(5, 7), (1, 1), (4, 6), (9, 2)], BF16, rng, {})
    folder("ue8m0", (4, 4), [(10, 6), (3, 17)], E8M0, rng, {"scale_fmt": "ue8m0"})
    tensors = load(here.parent / "model/ds-v3-fp8/model.safetensors")
    plain, stacks = {}, {}
    for name, q in tensors.items():
        if q.dtype == E4M3:
            value = dequantised(q, tensors[name + "_scale_inv"], (128, 128))
            if ".experts." in name:
                before, after = name.split(".experts.")
                expert, rest = after.split(".", 1)
                stacks.setdefault(f"{before}.experts.{rest}", {})[int(expert)] = value
            else:
                plain[name] = value
    plain |= {name: np.stack([parts[e] for e in range(len(parts))]) for name, parts in stacks.items()}
    out = {"meta": {"script": "tests/golden/fp8/make.py", "numpy": np.__version__, "ml_dtypes": ml_dtypes.__version__,
                    "note": "F32 = F8_E4M3 as f32 times its block's scale, one rounding; hash: FNV-1a 64 of the little-endian bytes"},
           "tensors": {n: {"shape": list(v.shape), "fnv1a64": fnv1a(v.astype("<f4").tobytes())} for n, v in sorted(plain.items())}}
    (here / "ds-v3-fp8.json").write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
