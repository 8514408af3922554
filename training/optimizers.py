"""Optimizers and their schedules."""

import math
from typing import Literal

import torch
from pydantic import Field
from torch import nn

from curation.config import Config


class OptimizerConfig(Config):
    """AdamW, and how its rate changes.

    Attributes:
        lr: Rate after the warm-up.
        betas: Decay of the two moments.
        eps: Added to the root of the second.
        weight_decay: Of matrices; biases and norms have none.
        warmup_steps: Steps over which the rate rises from 0.
        schedule: `constant`, or `cosine` down to a tenth at the last step.
        max_grad_norm: Gradients are scaled down to this norm.
        ema_decay: Of the averaged weights; null for none. It rises to this as (1 + n) / (10 + n).
    """

    lr: float = Field(default=1e-4, gt=0)
    betas: tuple[float, float] = (0.9, 0.99)
    eps: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup_steps: int = Field(default=100, ge=0)
    schedule: Literal["constant", "cosine"] = "constant"
    max_grad_norm: float = Field(default=1.0, gt=0)
    ema_decay: float | None = Field(default=0.999, gt=0, lt=1)


def make_optimizer(config: OptimizerConfig, module: nn.Module) -> torch.optim.AdamW:
    """Make the optimizer of a module's parameters that want gradients."""
    wanted = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in wanted if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in wanted if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.lr,
        betas=config.betas,
        eps=config.eps,
        fused=True,
    )


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
