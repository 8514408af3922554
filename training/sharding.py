"""Sharding a model over the ranks of a run, block by block."""

from typing import Literal

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

from training.model import Dit
from training.ranks import world_size


def shard_model(model: Dit, device: torch.device, precision: Literal["fp32", "bf16"]) -> Dit:
    """Shard each block and the rest of a model over all ranks; unchanged with one rank alone.

    Gradients are summed in fp32, whatever the blocks compute in, and each is the *mean* over ranks:
    the loop multiplies losses by the number of ranks, so that it becomes the sum.

    Source: torch's FSDP2 (`fully_shard`).
    """
    if world_size() == 1:
        return model
    mesh = init_device_mesh(device.type, (world_size(),))
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    policy = MixedPrecisionPolicy(
        param_dtype=dtype, reduce_dtype=torch.float32, output_dtype=torch.float32
    )
    for block in model.transformer.layers:
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    assert isinstance(model, FSDPModule)
    return model


def compute_in(model: nn.Module, precision: Literal["fp32", "bf16"], device: torch.device) -> None:
    """Let a model that is not sharded compute in `precision`; its weights stay as they are."""
    if precision == "bf16" and not isinstance(model, FSDPModule):
        forward = model.forward

        def cast(*arguments: torch.Tensor) -> torch.Tensor:
            with torch.autocast(device.type, torch.bfloat16):
                found: torch.Tensor = forward(*arguments)
            return found.float()

        model.forward = cast
