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
from torchao.optim import AdamW8bit

from training.ranks import rank

_QUANTIZED = ("codes", "scale", "qmap")


class LocalAdamW8bit(AdamW8bit):  # type: ignore[misc]  # torchao has no types
    """torchao's optimizer, on this rank's shards as plain tensors.

    AdamW takes each value by itself, so a shard needs nothing of the others. Given sharded tensors,
    torchao compiles its step by their whole shape, and ranks whose shards differ in size take each
    other's code out of the cache on disk, which ends them.

    The step is compiled for every shape of a shard, so the first one takes a while.

    Args:
        groups: As torch's optimizers take them.
        lr: Rate.
        betas: Decay of the two moments.
        eps: Added to the root of the second.
    """

    def __init__(
        self,
        groups: Iterable[Mapping[str, Any]],
        *,
        lr: float,
        betas: tuple[float, float],
        eps: float,
    ) -> None:
        self._local: dict[Tensor, nn.Parameter] = {}
        own = []
        for group in groups:
            for whole in group["params"]:
                self._local[whole] = nn.Parameter(_shard(whole))
            own.append({**group, "params": [self._local[p] for p in group["params"]]})
        super().__init__(own, lr=lr, betas=betas, eps=eps)

    def step(self, closure: None = None) -> None:
        """Move the parameters that have gradients."""
        for whole, local in self._local.items():
            local.data = _shard(whole)  # wherever sharding keeps it now
            if whole.grad is not None and local.numel():
                local.grad = _shard(whole.grad)
        super().step()
        for local in self._local.values():
            local.grad = None

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for whole in self._local:
            whole.grad = None

    def tensors(self, module: nn.Module) -> dict[str, Any]:
        """Return this rank's state as plain tensors that share the optimizer's memory.

        What is copied into them is the optimizer's state from then on. Each rank's lie under its
        own number; `step` is the same on all of them.
        """
        self._begin()
        own = f"rank-{rank()}"
        found: dict[str, Any] = {}
        for name, parameter in module.named_parameters():
            local = self._local.get(parameter)
            if local is None or not local.numel():
                continue
            state = self.state[local]
            found[name] = {
                "step": state["step"],
                **{key: {own: _parts(state[key])} for key in ("exp_avg", "exp_avg_sq")},
            }
        return found

    def _begin(self) -> None:
        """Make the state of parameters that were not stepped yet."""
        new = [p for p in self._local.values() if p.numel() and p not in self.state]
        if not new:
            return
        rates = [group["lr"].clone() for group in self.param_groups]
        for local in new:
            local.grad = torch.zeros_like(local)
        for group in self.param_groups:
            group["lr"].zero_()
        super().step()  # of length 0: no weight moves
        for group, lr in zip(self.param_groups, rates, strict=True):
            group["lr"].copy_(lr)
        for local in new:
            local.grad = None
            self.state[local]["step"].zero_()


@torch.no_grad()
def _shard(whole: Tensor) -> Tensor:
    """Return this rank's part of a tensor, in the same memory."""
    return whole.to_local() if isinstance(whole, DTensor) else whole.detach()


def _parts(moment: Tensor) -> dict[str, Tensor]:
    """Return the plain tensors that a moment consists of."""
    if hasattr(moment, "codes"):
        return {name: getattr(moment, name) for name in _QUANTIZED}
    return {"values": moment}
