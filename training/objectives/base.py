"""What an objective promises the loop.

The loop knows no objective by name. It asks which role is to be updated next and from how many
global batches, has the objective make a loss of each micro-batch, and steps that role's optimizer.
Accumulation, clipping, sharding, averaging, schedules and checkpoints are the loop's.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor, nn

from training.data.batch import Batch


@dataclass(frozen=True)
class Phase:
    """One optimizer step to come.

    Attributes:
        role: Whose.
        num_batches: Global batches that it is made from.
        values: Numbers that hold for the whole step, on every rank: what the objective drew for it,
            or has learnt from the steps before.
        num_forward: Forward passes of a model of this size over each sample, for MFU: those of
            models that are not trained, and of further images of a sample, count too.
        num_backward: Backward passes likewise.
    """

    role: str
    num_batches: int = 1
    values: Mapping[str, float] = field(default_factory=dict)
    num_forward: float = 1
    num_backward: float = 1


@dataclass(frozen=True)
class Metric:
    """Something measured, as a sum and what it is divided by: so parts of a batch add up.

    Attributes:
        total: Scalar, detached.
        weight: Scalar, detached; where it is 0 in the end, there is no figure.
    """

    total: Tensor
    weight: Tensor


@dataclass(frozen=True)
class Update:
    """What one micro-batch says.

    Attributes:
        loss: Scalar: a sum over the micro-batch's samples, divided by the samples of the global
            batch. The losses of all micro-batches of all ranks add up to the batch's.
        metrics: Name -> figure; `loss` is always there.
        samples: Name -> (B,) what was measured of each sample, detached: `loss`, and `sigma` where
            there is one. Read only when the run must be stopped, to say which images are to blame.
        spreads: Name -> values of the samples that count, detached, of which quantiles are told.
    """

    loss: Tensor
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    samples: Mapping[str, Tensor] = field(default_factory=dict)
    spreads: Mapping[str, Tensor] = field(default_factory=dict)


class Objective(ABC):
    """Turns batches into losses.

    Attributes:
        roles: Name -> module that is trained; the loop makes an optimizer for each.
        observed: Names of the metrics whose means over a step's global batches `observe` is told.
    """

    roles: Mapping[str, nn.Module]
    observed: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def next_phase(self, state: dict[str, Any]) -> Phase:
        """Say what is to be updated next, and note in `state` that it was asked.

        `state` is JSON, empty at the start, and kept in checkpoints.
        """

    @abstractmethod
    def update(self, phase: Phase, batch: Batch) -> Update:
        """Return the loss of a micro-batch for the phase's role."""

    def stepped(self, phase: Phase) -> None:  # noqa: B027 (most objectives have nothing to do)
        """Do what follows a role's step, the same on every rank."""

    def observe(self, state: dict[str, Any], means: Mapping[str, float]) -> None:  # noqa: B027
        """Note in `state` what a step showed, over all ranks."""

    def complaint(self, held_out: Mapping[str, float]) -> str | None:
        """Return why training must not go on, from the means of the metrics on held-out samples."""
        return None
