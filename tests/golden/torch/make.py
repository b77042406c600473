#!/usr/bin/env python3
"""Makes the files of this folder with PyTorch (PyPI `torch`). usage: make.py [FOLDER]"""
import collections
import json
import os
import pathlib
import sys

import torch

folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")


def numbers(*shape):
    count = 1
    for length in shape:
        count *= length
    return (torch.arange(count, dtype=torch.float32) - 3).reshape(shape) / 4


tensors = {
    "a.weight": numbers(3, 5),
    "a.bias": numbers(3).to(torch.bfloat16),
    "half": numbers(2, 3, 4).to(torch.float16),
    "conv.weight": numbers(4, 2, 3, 3),
    "scalar": torch.tensor(2.5),
    "count": torch.tensor([7, -1], dtype=torch.int64),
}
torch.save(tensors, folder / "plain.bin")

# What the state of a module looks like: an OrderedDict with _metadata, and a tied weight.
module = torch.nn.Module()
module.embed = torch.nn.Embedding(4, 2)
module.head = torch.nn.Linear(2, 4, bias=False)
module.head.weight = module.embed.weight
with torch.no_grad():
    module.embed.weight.copy_(numbers(4, 2))
torch.save(module.state_dict(), folder / "module.bin")
torch.save({"p": torch.nn.Parameter(numbers(2, 2))}, folder / "parameter.bin")

# One storage, taken apart; and what is not stored row by row.
base = numbers(4, 6)
torch.save({"upper": base[:2], "lower": base[2:]}, folder / "views.bin")
torch.save({"turned": base.t()}, folder / "turned.bin")
torch.save({"all": base, "lower": base[2:]}, folder / "overlap.bin")
torch.save(tensors, folder / "legacy.bin", _use_new_zipfile_serialization=False)
torch.save({"a": numbers(2), "step": 3}, folder / "number.bin")
torch.save(tensors, folder / "protocol4.bin", pickle_protocol=4)


class Calls:
    def __reduce__(self):
        return os.system, ("touch pwned",)


torch.save({"a": numbers(2), "b": Calls()}, folder / "system.bin")

values = {name: [tensor.dtype.__str__()[6:], list(tensor.shape) or [1],
                 tensor.flatten().to(torch.float64).tolist()] for name, tensor in tensors.items()}
meta = {"oracle": f"torch {torch.__version__.split('+')[0]}", "script": "make.py", "of": "plain.bin"}
(folder / "plain.json").write_text(json.dumps({"meta": meta, "tensors": values}, indent=1) + "\n")
