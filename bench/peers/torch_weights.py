"""Tensors of dskc in the layout of torch_model.py."""

import json
import struct
from pathlib import Path
from typing import Iterator

import torch
from torch import Tensor, nn

from torch_model import Tiny


def read(path: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file, all f32."""
    data = bytearray(Path(path).read_bytes())
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__", None)

    def tensor(entry: dict) -> Tensor:
        begin, end = entry["data_offsets"]
        return torch.frombuffer(data, dtype=torch.float32, count=(end - begin) // 4, offset=8 + size + begin).view(entry["shape"])

    return {name: tensor(entry) for name, entry in header.items()}


def matched(model: Tiny, tensors: dict[str, Tensor]) -> Iterator[tuple[str, nn.Parameter, Tensor]]:
    """Each parameter of the model with its name and what dskc's tensors say about it: values or gradients."""
    joined = {"wkv_b.weight": ("wk_b", "wv_b"), "gate_up.weight": ("gate", "up"), "gate_up": ("experts.gate", "experts.up")}
    for path, module in model.named_modules():
        for own, parameter in module.named_parameters(prefix=path, recurse=False):
            parent, last = (path.rsplit(".", 1) + [path])[0], path.rsplit(".", 1)[-1]
            if isinstance(module, nn.Linear) and path != "head":
                names = [f"{parent}.{part}" for part in joined.get(f"{last}.weight", (last,))]
                ours = torch.cat([tensors[name] for name in names], -1)
                yield own, parameter, ours.reshape(module.in_features, module.out_features).T
            elif own.endswith((".gate_up", ".down")):
                names = joined["gate_up"] if own.endswith(".gate_up") else ("experts.down",)
                yield own, parameter, torch.cat([tensors[f"{path}.{name}"] for name in names], -1)
            else:
                yield own, parameter, tensors[own]


@torch.no_grad()
def load(model: Tiny, tensors: dict[str, Tensor]) -> None:
    for _, parameter, ours in matched(model, tensors):
        parameter.copy_(ours)
    for name, buffer in model.named_buffers():
        if name in tensors:
            buffer.copy_(tensors[name])


def worst_gradient(model: Tiny, gradients: dict[str, Tensor]) -> tuple[str, float]:
    """Where gradients lie farthest apart: the norm of the difference as a share of the norm."""
    distances = [
        (name, ((parameter.grad - ours).norm() / ours.norm()).item()) for name, parameter, ours in matched(model, gradients)
    ]
    return max(distances, key=lambda pair: pair[1])
