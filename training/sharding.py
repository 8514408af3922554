"""A model made ready to train: checkpointed, compiled and sharded, block by block."""

import atexit

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._distributed_c10d import HashStore
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Shard
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from training.compiling import compile_blocks
from training.compute import ComputeConfig, Precision
from training.model import Dit
from training.ranks import is_distributed, world_size

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
"""Precision in YAML -> type."""


def prepare(model: Dit, device: torch.device, compute: ComputeConfig) -> Dit:
    """Make a model ready to train, in place; the keys of its state stay as they are.

    It may be on the meta device, and should be where it is large: after sharding, `to_empty` gives
    each rank memory for its own part alone.

    Checkpointing goes around a block, sharding's hooks before and after it, compilation within: so
    none of them sees the others.

    Raises:
        UsageError: It shall be compiled, and there is no compiler.
    """
    if compute.activation_checkpointing:
        model.transformer.enable_gradient_checkpointing()
    if compute.compile:
        compile_blocks(model, device)
    return shard_model(model, device, compute.precision)


def shard_model(model: Dit, device: torch.device, precision: Precision) -> Dit:
    """Shard each block and the rest of a model over all ranks.

    In fp32 a rank alone has nothing to shard, and the model stays as it is. In bf16 it is "sharded"
    over that one rank too, for the same precision on any number of them: weights are fp32, a block
    is cast to bf16 for as long as it computes, gradients are summed in fp32.

    What goes into a block is not cast: noise levels and rotary angles stay fp32, as in the released
    pipeline; the model itself casts latents and texts. Gradients are the *mean* over ranks: the
    loop multiplies losses by the number of ranks, so that it becomes the sum.

    Source: torch's FSDP2 (`fully_shard`).
    """
    if world_size() == 1 and precision == "fp32":
        return model
    if not is_distributed():
        _be_a_group(device)
    mesh = init_device_mesh(device.type, (world_size(),))
    policy = MixedPrecisionPolicy(
        param_dtype=DTYPES[precision], reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    for block in model.transformer.layers:
        fully_shard(block, mesh=mesh, mp_policy=policy)
    # By default the root's weights stay gathered after a forward pass; one without a backward pass,
    # for looking at averages, would leave them to the next step.
    fully_shard(model, mesh=mesh, mp_policy=policy, reshard_after_forward=True)
    assert isinstance(model, FSDPModule)
    return model


def local_rows(parameter: Tensor) -> tuple[Tensor, slice]:
    """Return this rank's part of a parameter, to be written to, and which rows of it that is."""
    if not isinstance(parameter, DTensor):
        return parameter.detach(), slice(None)
    assert parameter.placements == (Shard(0),)
    shape, offset = compute_local_shape_and_global_offset(
        parameter.shape, parameter.device_mesh, parameter.placements
    )
    return parameter.to_local().detach(), slice(offset[0], offset[0] + shape[0])


def give_memory(model: nn.Module, device: torch.device) -> None:
    """Give a model on the meta device memory, for this rank's part of it; what it holds is chance.

    Buffers would have to be computed anew; the model has none.
    """
    assert not list(model.buffers())
    model.to_empty(device=device)


def _be_a_group(device: torch.device) -> None:
    """Make this process a group of one, which FSDP2 asks for; it lasts as long as the process."""
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=HashStore(), rank=0, world_size=1)
    atexit.register(_leave_group)


def _leave_group() -> None:
    """End the group before the libraries under it end, which would warn."""
    if dist.is_initialized():
        dist.destroy_process_group()
