"""LoRA: a small adapter is trained, and the weights that it adapts stay as they are."""

import re
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field
from torch import nn

from curation.config import Config
from curation.errors import ConfigError

if TYPE_CHECKING:
    from training.model import Dit

ADAPTER = "default"
"""What peft calls the only adapter."""

FILE = "pytorch_lora_weights.safetensors"
"""What diffusers looks for."""


class LoraConfig(Config):
    """An adapter of low rank beside linear layers: W x + alpha / rank B A x.

    Attributes:
        rank: Of each layer's change.
        alpha: Times what the change counts, divided by the rank.
        dropout: Share of a layer's inputs that the adapter does not see while it trains. Its draws
            are a rank's own: another number of ranks gives others.
        targets: Which layers: ends of their names, or one regular expression for whole names. The
            default is every linear layer of the blocks.

    Source: Hu et al. 2021 (arXiv 2106.09685).
    """

    rank: int = Field(default=16, ge=1, le=4096)
    alpha: float = Field(default=16.0, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: tuple[str, ...] | str = (
        "to_q",
        "to_k",
        "to_v",
        "to_out.0",
        "gate_proj",
        "up_proj",
        "linear_fc2",
    )


def add_adapter(model: "Dit", config: LoraConfig, base: torch.dtype) -> None:
    """Add an adapter to a model, in place, and freeze everything else.

    Before `prepare`: what is sharded can take none. The adapter is fp32, as everything that is
    trained; it is sharded with the block that it lies in.

    Args:
        model: A model, usually on the meta device; the adapter lies there too.
        config: The adapter.
        base: Type of the frozen weights; they need no more digits than are computed with.

    Raises:
        ConfigError: A target is no linear layer of the model.
    """
    import peft

    _check_targets(model, config)
    model.requires_grad_(requires_grad=False)
    model.to(base)
    targets = config.targets if isinstance(config.targets, str) else list(config.targets)
    described: Any = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # type: ignore[arg-type]  # a fraction is as good
        lora_dropout=config.dropout,
        target_modules=targets,
    )
    with next(model.parameters()).device:
        model.transformer.add_adapter(described, adapter_name=ADAPTER)
    for module in model.modules():
        if isinstance(module, peft.tuners.lora.LoraLayer):
            module.lora_A.to(torch.float32)
            module.lora_B.to(torch.float32)


def merge_adapter(model: "Dit") -> None:
    """Add an adapter's changes to the weights and take it away: a model as if it had had none."""
    model.transformer.fuse_lora()
    model.transformer.unload_lora()


def _check_targets(model: "Dit", config: LoraConfig) -> None:
    """Look for each target, as peft would."""
    names = [n for n, m in model.transformer.named_modules() if isinstance(m, nn.Linear)]
    others = [n for n, m in model.transformer.named_modules() if not isinstance(m, nn.Linear)]
    asked = [config.targets] if isinstance(config.targets, str) else config.targets
    for target in asked:
        is_pattern = isinstance(config.targets, str)
        if not any(_matches(target, name, is_pattern=is_pattern) for name in names) or any(
            _matches(target, name, is_pattern=is_pattern) for name in others if name
        ):
            known = ", ".join(dict.fromkeys(name.rpartition("layers.")[2] for name in names))
            message = (
                f"model.lora.targets: {target!r} should name linear layers and nothing else; "
                f"there are: {known}"
            )
            raise ConfigError(message)


def _matches(target: str, name: str, *, is_pattern: bool) -> bool:
    if is_pattern:
        return re.fullmatch(target, name) is not None
    return name == target or name.endswith(f".{target}")
