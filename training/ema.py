"""Averages of weights, sharded as the weights are."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """An exponential moving average of a module's trained parameters, in fp32.

    Attributes:
        shadow: Parameter name -> average.
        num_updates: Updates so far.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._module = module
        self._decay = decay
        self.num_updates = 0
        self.shadow: dict[str, Tensor] = {
            name: parameter.detach().clone().float()
            for name, parameter in module.named_parameters()
            if parameter.requires_grad
        }

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights in; the first ones count more, so that the start is soon forgotten."""
        self.num_updates += 1
        decay = min(self._decay, (1 + self.num_updates) / (10 + self.num_updates))
        now = dict(self._module.named_parameters())
        averages = list(self.shadow.values())
        current = [now[name].detach().float() for name in self.shadow]
        torch._foreach_lerp_(averages, current, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the averages in place of the weights for a while."""
        now = dict(self._module.named_parameters())
        kept = {name: now[name].detach().clone() for name in self.shadow}
        with torch.no_grad():
            for name, average in self.shadow.items():
                now[name].copy_(average)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, value in kept.items():
                    now[name].copy_(value)
