"""Figures of some steps, over all ranks: what one line of the journal says."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from training.data.batch import Batch
from training.flops import ModelFlops
from training.objectives.base import Metric, Phase
from training.ranks import world_size

T = TypeVar("T")

SPEEDS = (
    "time",
    "step_s",
    "samples_per_s",
    "tokens_per_s",
    "wait_share",
    "mfu",
    "hfu",
    "device_memory_bytes",
    "evaluation_s",
)
"""Figures that depend on the clock and the machine; all others are the same in every run."""


@dataclass(frozen=True)
class Meter:
    """What is needed to say how well the devices are used.

    Attributes:
        flops: Of the model.
        peak: FLOP/s that one device can make; null where nobody knows, and then no MFU is said.
        recompute: Whether activations are computed a second time in the backward pass.
    """

    flops: ModelFlops
    peak: float | None = None
    recompute: bool = False


@dataclass(frozen=True)
class _Work:
    """What was computed: samples, tokens and, for attention, pairs of tokens."""

    samples: float
    image_tokens: float
    text_tokens: float
    pairs: float

    def flops(self, meter: Meter, num_forward: float, num_backward: float) -> float:
        """Return the operations that so many passes take."""
        linear = meter.flops.linear(self.samples, self.image_tokens, self.text_tokens)
        attention = self.pairs * meter.flops.per_pair
        backward = meter.flops.backward_of(linear, attention)
        return num_forward * (linear + attention) + num_backward * backward


class Figures:
    """Adds up what happens on this rank; `close` brings the ranks together.

    Nothing here waits for the device before `close`.

    Args:
        device: Whose memory is looked at.
        meter: What the model costs; null to say nothing of the devices.
    """

    def __init__(self, device: torch.device, meter: Meter | None = None) -> None:
        self._device = device
        self._meter = meter
        self._metrics = MetricSums()
        self._steps: dict[str, int] = {}
        self._norms: dict[str, list[float]] = {}
        self._samples = 0
        self._seconds = 0.0
        self._waited = 0.0
        # By the passes that a phase makes: what counted, on the device, and all that was computed.
        self._useful: dict[tuple[float, float], Tensor] = {}
        self._computed: dict[tuple[float, float], list[float]] = {}
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def waited(self, seconds: float) -> None:
        """Note that the loader was waited for."""
        self._waited += seconds

    def computed(self, phase: Phase, batch: Batch) -> None:
        """Note that a micro-batch was computed.

        A token is padding if it is one, or if its sample counts nothing: in a micro-batch that only
        keeps a rank busy, or of an image that was forbidden.
        """
        passes = (phase.num_forward, phase.num_backward)
        image, longest = batch.latent_BCHW[0, 0].numel(), batch.text_BTD.shape[1]
        counts_B = (batch.weight_B > 0).double()
        lens_B = batch.text_lens_B.double().to(counts_B.device)
        useful = torch.stack(
            [
                counts_B.sum(),
                image * counts_B.sum(),
                (counts_B * lens_B).sum(),
                (counts_B * (image + lens_B) ** 2).sum(),
            ]
        )
        self._useful[passes] = self._useful[passes] + useful if passes in self._useful else useful
        count = len(batch)
        done = (count, count * image, count * longest, count * (image + longest) ** 2)
        before = self._computed.get(passes, [0.0] * 4)
        self._computed[passes] = [a + b for a, b in zip(before, done, strict=True)]

    def add(
        self,
        role: str,
        found: Mapping[str, Metric],
        *,
        norm: float,
        seconds: float,
        num_samples: int,
    ) -> None:
        """Take a step in.

        Args:
            role: Whose step.
            found: This rank's parts of what the objective measured.
            norm: Of the gradient, before it was scaled down; the same on all ranks.
            seconds: The step took.
            num_samples: Of the step's global batches; the same on all ranks.
        """
        self._metrics.add({f"{role}/{name}": metric for name, metric in found.items()})
        self._steps[role] = self._steps.get(role, 0) + 1
        self._norms.setdefault(role, []).append(norm)
        self._seconds += seconds
        self._samples += num_samples

    def close(self) -> dict[str, float]:
        """Return the figures; every rank must ask, after the same steps."""
        lines = self._metrics.close()
        for role, norms in self._norms.items():
            lines[f"{role}/grad_norm"] = sum(norms) / len(norms)
            lines[f"{role}/grad_norm_max"] = max(norms)
            lines[f"{role}/steps"] = self._steps[role]
        ranks = gathered(self._of_rank())
        total = {name: sum(rank[name] for rank in ranks) for name in ranks[0]}
        # Ranks wait for the slowest, whose loader and memory are therefore everybody's.
        most = {name: max(rank[name] for rank in ranks) for name in ranks[0]}
        seconds = max(most["seconds"], 1e-9)
        lines["padding_share"] = 1 - total["useful_tokens"] / total["tokens"]
        lines["step_s"] = seconds / sum(self._steps.values())
        lines["samples_per_s"] = self._samples / seconds
        lines["tokens_per_s"] = total["useful_tokens"] / seconds
        lines["wait_share"] = min(most["waited"] / seconds, 1.0)
        if self._meter is not None and self._meter.peak is not None:
            possible = seconds * self._meter.peak * len(ranks)
            lines["mfu"] = total["useful_flops"] / possible
            lines["hfu"] = total["flops"] / possible
        if self._device.type == "cuda":
            lines["device_memory_bytes"] = most["memory"]
        lines["time"] = round(time.time(), 3)
        return lines

    def _of_rank(self) -> dict[str, float]:
        """Return what this rank adds."""
        names = ("useful_tokens", "tokens", "useful_flops", "flops")
        found = dict.fromkeys(names, 0.0)
        for passes, counts in self._computed.items():
            done, useful = _Work(*counts), _Work(*self._useful[passes].tolist())
            found["useful_tokens"] += useful.image_tokens + useful.text_tokens
            found["tokens"] += done.image_tokens + done.text_tokens
            if self._meter is not None:
                forward, backward = passes
                again = backward if self._meter.recompute else 0
                found["useful_flops"] += useful.flops(self._meter, forward, backward)
                found["flops"] += done.flops(self._meter, forward + again, backward)
        memory = 0
        if self._device.type == "cuda":
            memory = torch.cuda.max_memory_allocated(self._device)
        return {**found, "seconds": self._seconds, "waited": self._waited, "memory": memory}


class MetricSums:
    """Adds up parts of figures without waiting for the device, and divides them in the end."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}

    def add(self, metrics: Mapping[str, Metric]) -> None:
        """Take a part in."""
        for name, metric in metrics.items():
            part = torch.stack([metric.total.detach().double(), metric.weight.detach().double()])
            self._sums[name] = self._sums[name] + part if name in self._sums else part

    def close(self) -> dict[str, float]:
        """Return name -> mean over all ranks, where anything counted; every rank must ask.

        Ranks may have measured different things: one may have seen no sample of some domain.
        """
        names = sorted(self._sums)
        found = torch.stack([self._sums[name] for name in names]).tolist() if names else []
        sums: dict[str, tuple[float, float]] = {}
        for part in gathered(dict(zip(names, found, strict=True))):
            for name, (total, weight) in part.items():
                before = sums.get(name, (0.0, 0.0))
                sums[name] = (before[0] + total, before[1] + weight)
        return {name: t / w for name, (t, w) in sorted(sums.items()) if w}


def gathered(value: T) -> list[T]:
    """Return the value of every rank, in their order; every rank must ask."""
    if world_size() == 1:
        return [value]
    found: list[T] = [value] * world_size()
    dist.all_gather_object(found, value)
    return found
