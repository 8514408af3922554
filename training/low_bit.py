"""AdamW whose two moments take a byte each, and what a checkpoint keeps of them.

The state of a parameter is that of the *local shard*: its values lie in blocks that share a scale,
and shards that are small or no multiple of a block stay in fp32. So it is kept rank by rank, as
plain tensors, and only as many ranks can take it in again.

Source: Dettmers et al. 2021 (arXiv 2110.02861), as in torchao's `AdamW8bit`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from training.ranks import rank

_QUANTIZED = ("codes", "scale", "qmap")


def make_adamw_8bit(
    groups: Iterable[Mapping[str, Any]], *, lr: float, betas: tuple[float, float], eps: float
) -> torch.optim.Optimizer:
    """Make torchao's optimizer.

    It compiles its step for every shape of a parameter, so the first step takes a while.
    """
    from torchao.optim import AdamW8bit

    made: torch.optim.Optimizer = AdamW8bit([*groups], lr=lr, betas=betas, eps=eps)
    return made


@torch.no_grad()
def local_tensors(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return this rank's state as plain tensors that share the optimizer's memory.

    What is copied into them is the optimizer's state from then on. Each rank's lie under its own
    number; `step` is the same on all of them.
    """
    _begin(optimizer)
    own = f"rank-{rank()}"
    found: dict[str, Any] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            state = optimizer.state[parameter]
            parts = {key: _parts(value) for key, value in state.items() if key != "step"}
            found[name] = {
                "step": state["step"],
                **{key: {own: part} for key, part in parts.items() if part},
            }
    return found


def _parts(state: Tensor) -> dict[str, Tensor]:
    """Return what a moment consists of on this rank; nothing where its shard is empty."""
    local = state.to_local() if isinstance(state, DTensor) else state
    if not local.numel():
        return {}
    if hasattr(local, "codes"):
        return {name: getattr(local, name) for name in _QUANTIZED}
    return {"values": local}


def _begin(optimizer: torch.optim.Optimizer) -> None:
    """Have the optimizer make the state of parameters that it has not stepped yet."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    new = [p for p in parameters if p not in optimizer.state]
    if not new:
        return
    kept = [(p, p.grad) for p in parameters]
    rates = [group["lr"].clone() for group in optimizer.param_groups]
    for p in parameters:
        p.grad = None
    for p in new:
        p.grad = torch.zeros_like(p)
    for group in optimizer.param_groups:
        group["lr"].zero_()
    optimizer.step()  # of length 0: no weight moves
    for p, gradient in kept:
        p.grad = gradient
    for group, lr in zip(optimizer.param_groups, rates, strict=True):
        group["lr"].copy_(lr)
    for p in new:
        optimizer.state[p]["step"].zero_()
