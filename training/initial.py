"""The first weights of a model, drawn so that they depend on the seed and nothing else."""

import hashlib
import math
import struct
from collections.abc import Collection

import torch
from torch import Tensor, nn

from training.model import Dit
from training.sharding import local_rows

_ZERO = (
    "adaLN_modulation.1.weight",
    "adaLN_modulation.1.bias",
    "final_linear.weight",
    "final_linear.bias",
    "lora_B.default.weight",
)
"""A new model predicts nothing, each block of it hands on what it is given, and a new adapter
changes nothing."""


@torch.no_grad()
def draw_weights(model: Dit, seed: int, leave: Collection[str] = ()) -> None:
    """Put first weights into a model whose memory holds anything, however it is sharded.

    Each parameter has a generator of its own, keyed by the seed and the parameter's name, and is
    made whole on the CPU, one at a time, before a rank takes its rows of it. So they are the same
    on any number of ranks and on any device, with or without an adapter, and no host ever holds
    more than one of them.

    Args:
        model: Not on the meta device.
        seed: The run's.
        leave: Names of parameters that have their weights already.

    Source: what diffusers 0.42.1 gives a new `ErnieImageTransformer2DModel`: torch's defaults,
        which are uniform in +-1 / sqrt(fan in) for matrices, kernels and biases and 1 for norms,
        and zeros for the modulation and the last layer; peft's defaults for an adapter.
    """
    for prefix, module in model.named_modules():
        for last, parameter in module.named_parameters(recurse=False):
            name = f"{prefix}.{last}"
            if name in leave:
                continue
            part, rows = local_rows(parameter)
            part.copy_(_first(seed, name, module, parameter.shape)[rows])


def _first(seed: int, name: str, module: nn.Module, shape: torch.Size) -> Tensor:
    """Return a parameter's first value, whole, fp32 on the CPU."""
    if name.endswith(_ZERO):
        return torch.zeros(shape)
    if isinstance(module, nn.Linear | nn.Conv2d):
        fan_in = math.prod(module.weight.shape[1:])
        generator = torch.Generator().manual_seed(_key(seed, name))
        return torch.empty(shape).uniform_(-1, 1, generator=generator) / math.sqrt(fan_in)
    assert "norm" in type(module).__name__.lower(), f"{name}: no first value is known for it"
    return torch.ones(shape)


def _key(seed: int, name: str) -> int:
    """Return 63 bits; a layer under an adapter has those of the layer alone.

    Source: keyed BLAKE2b (RFC 7693).
    """
    content = b"weights\0" + name.replace(".base_layer.", ".").encode()
    data = hashlib.blake2b(content, digest_size=8, key=struct.pack("<q", seed)).digest()
    return int.from_bytes(data, "little") >> 1
