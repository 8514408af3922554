"""Optimizers and their schedules."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

from curation.config import Config
from curation.errors import UsageError
from training.ranks import world_size


class OptimizerConfig(Config):
    """AdamW, and how its rate changes.

    Attributes:
        kind: `adamw`, or `adamw_8bit`, whose moments take 2 bytes a parameter instead of 8. A run
            with the latter is resumed on as many ranks as it had.
        lr: Rate after the warm-up.
        betas: Decay of the two moments.
        eps: Added to the root of the second.
        weight_decay: Of matrices; biases and norms have none.
        warmup_steps: Steps over which the rate rises from 0.
        schedule: `constant`, or `cosine` down to a tenth at the last step.
        max_grad_norm: Gradients are scaled down to this norm.
        ema_decay: Of the averaged weights; null for none. It rises to this as (1 + n) / (10 + n).
    """

    kind: Literal["adamw", "adamw_8bit"] = "adamw"
    lr: float = Field(default=1e-4, gt=0)
    betas: tuple[float, float] = (0.9, 0.99)
    eps: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup_steps: int = Field(default=100, ge=0)
    schedule: Literal["constant", "cosine"] = "constant"
    max_grad_norm: float = Field(default=1.0, gt=0)
    ema_decay: float | None = Field(default=0.999, gt=0, lt=1)


def make_optimizer(config: OptimizerConfig, module: nn.Module) -> torch.optim.Optimizer:
    """Make the optimizer of a module's parameters that want gradients."""
    wanted = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in wanted if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in wanted if p.ndim < 2], "weight_decay": 0.0},
    ]
    filled = [group for group in groups if group["params"]]
    if config.kind == "adamw_8bit":
        from training.low_bit import LocalAdamW8bit

        low: torch.optim.Optimizer = LocalAdamW8bit(
            filled, lr=config.lr, betas=config.betas, eps=config.eps
        )
        return low
    return torch.optim.AdamW(filled, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the rate of the next step.

    A rate that is a tensor belongs to a compiled step, which would be compiled again for another.
    """
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


def optimizer_tensors(
    config: OptimizerConfig, module: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """Return what a checkpoint keeps of an optimizer."""
    if config.kind == "adamw_8bit":
        from training.low_bit import LocalAdamW8bit

        assert isinstance(optimizer, LocalAdamW8bit)
        return optimizer.tensors(module)
    found: dict[str, Any] = get_optimizer_state_dict(module, optimizer)
    return found


def restore_optimizer(
    config: OptimizerConfig,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    tensors: dict[str, Any],
) -> None:
    """Take in what `optimizer_tensors` returned and a checkpoint has filled."""
    if config.kind == "adamw":  # the tensors of the other one are its own memory
        set_optimizer_state_dict(module, optimizer, tensors)


def check_ranks(state: Mapping[str, Any], where: str) -> None:
    """Refuse to go on from a checkpoint whose optimizers fit another number of ranks only.

    Args:
        state: What the checkpoint says.
        where: The run's output.

    Raises:
        UsageError: They do.
    """
    told = state.get("world_size", 1)
    kinds = {role.get("optimizer", "adamw") for role in state["roles"].values()}
    if "adamw_8bit" in kinds and told != world_size():
        message = (
            f"{where}: step {state['step']} was made by {told} process{'es' * (told > 1)} with "
            f"optimizer.kind adamw_8bit, whose state belongs to their shards, and {world_size()} "
            f"would go on; resume with {told}, or export it and start another run from those "
            "weights (optimizer.kind adamw goes on with any number)"
        )
        raise UsageError(message)


def rate(config: OptimizerConfig, step: int, last_step: int) -> float:
    """Return the rate of a step.

    Args:
        config: The schedule.
        step: Steps of this optimizer so far.
        last_step: Steps that it will have made in the end.
    """
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.lr
    span = max(last_step - config.warmup_steps, 1)
    done = min((step - config.warmup_steps) / span, 1.0)
    return config.lr * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done)))
