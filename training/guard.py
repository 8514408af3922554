"""Ends a run before it is spoilt: no step is made from what is no number or out of proportion."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from curation.errors import LongtailError
from training.data.batch import Batch
from training.figures import gathered
from training.objectives.base import Metric
from training.ranks import world_size

WARMING_STEPS = 10
"""Steps of a role of which none can be a spike: a first loss alone says little of what is usual."""

_MEMORY_STEPS = 50
"""What is usual forgets at this pace."""

_NAMED = 8


@dataclass(frozen=True)
class Suspect:
    """A sample of the step that ended a run.

    Attributes:
        image_id: Hexadecimal digits.
        domain: Its domain.
        loss: Its own loss; null where that is no number, or not known.
        sigma: Its noise level; null where the objective has none.
        is_finite: Whether its loss is a number, as far as is known.
    """

    image_id: str
    domain: str
    loss: float | None
    sigma: float | None
    is_finite: bool

    def words(self) -> str:
        """Name it, and say what was measured."""
        facts = [] if self.domain == "default" else [self.domain]
        facts.append("loss is no number" if not self.is_finite else "")
        facts += [] if self.loss is None else [f"loss {self.loss:.4g}"]
        facts += [] if self.sigma is None else [f"sigma {self.sigma:.3f}"]
        said = ", ".join(fact for fact in facts if fact)
        return f"{self.image_id} ({said})" if said else self.image_id


class TrainingStoppedError(LongtailError):
    """The run ended itself: a loss was not a number, or rose out of all proportion.

    Attributes:
        step: The step that was not made.
        suspects: Its samples on all ranks, the worst first.
    """

    def __init__(self, message: str, step: int = 0, suspects: Sequence[Suspect] = ()) -> None:
        super().__init__(message)
        self.step = step
        self.suspects = tuple(suspects)

    def facts(self) -> dict[str, Any]:
        """Return what the journal keeps of it."""
        return {"reason": str(self), "samples": [asdict(s) for s in self.suspects]}


class Seen:
    """The samples of the step that is being made, on this rank."""

    def __init__(self) -> None:
        self._parts: list[tuple[list[str], Sequence[str], Tensor, Mapping[str, Tensor]]] = []

    def add(self, batch: Batch, samples: Mapping[str, Tensor]) -> None:
        """Take a micro-batch in, with what the objective says of each sample."""
        self._parts.append((batch.image_ids, batch.domains, batch.weight_B, samples))

    def suspects(self) -> list[Suspect]:
        """Return the samples that may be the reason of something."""
        found = []
        for image_ids, domains, weight_B, samples in self._parts:
            told = {name: values.float().cpu().tolist() for name, values in samples.items()}
            weights = weight_B.tolist()
            for place, image_id in enumerate(image_ids):
                loss = told["loss"][place] if "loss" in told else None
                is_finite = loss is None or math.isfinite(loss)
                if weights[place] == 0 and is_finite:
                    continue  # it is forbidden, or fills a place
                sigma = told["sigma"][place] if "sigma" in told else None
                shown = loss if is_finite else None
                found.append(Suspect(image_id, domains[place], shown, sigma, is_finite))
        return found


class Guard:
    """Knows the usual size of each role's loss.

    Args:
        spike: A loss this many times the usual one ends the run; null for never.
    """

    def __init__(self, spike: float | None) -> None:
        self._spike = spike
        self._usual: dict[str, tuple[float, int]] = {}

    def to_json(self) -> dict[str, list[float]]:
        """Return what is usual, for a checkpoint: role -> size and steps."""
        return {role: [size, count] for role, (size, count) in self._usual.items()}

    def restore(self, value: Mapping[str, Sequence[float]]) -> None:
        """Take in what `to_json` returned."""
        self._usual = {role: (size, int(count)) for role, (size, count) in value.items()}

    def check(self, step: int, role: str, loss: Metric, norm: float, seen: Seen) -> None:
        """Let a step pass, or end the run on all ranks alike.

        Args:
            step: The step that is about to be made.
            role: Whose.
            loss: This rank's part of the loss.
            norm: Of the gradient.
            seen: The samples.

        Raises:
            TrainingStoppedError: The loss or the gradient is no number, or the loss is a spike.
        """
        total, weight, num_bad = _summed(loss, norm)
        size = abs(total / weight) if weight else 0.0
        if num_bad or not math.isfinite(size):
            said = f"{total / weight if weight else total:g}"
            norm = max(gathered(norm), key=lambda found: (not math.isfinite(found), found))
            reason = f"the loss is {said} and the gradient's norm {norm:g}"
            advice = "Look at them, or begin another run with a lower rate"
        elif self._is_spike(role, size):
            usual = self._usual[role][0]
            reason = f"the loss {size:g} is more than {self._spike:g} times the recent {usual:g}"
            advice = "Look at them, or resume with a larger loop.spike"
        else:
            if weight:
                self._note(role, size)
            return
        suspects = _everywhere(seen.suspects())
        whose = "" if role == "model" else f" ({role})"
        message = f"step {step}{whose}: {reason}; nothing was changed. {_named(suspects)}. {advice}"
        raise TrainingStoppedError(message, step, suspects)

    def _is_spike(self, role: str, size: float) -> bool:
        usual, count = self._usual.get(role, (0.0, 0))
        return self._spike is not None and count >= WARMING_STEPS and size > self._spike * usual > 0

    def _note(self, role: str, size: float) -> None:
        """Move what is usual: a plain mean of the first losses, then one that forgets slowly."""
        usual, count = self._usual.get(role, (0.0, 0))
        count += 1
        usual += (size - usual) / count
        self._usual[role] = (usual, min(count, _MEMORY_STEPS - 1))


def _summed(loss: Metric, norm: float) -> tuple[float, float, float]:
    """Return total and weight of a loss over all ranks, and how many of them see no number."""
    bad = float(not (math.isfinite(norm) and math.isfinite(float(loss.total))))
    if world_size() == 1:
        return float(loss.total), float(loss.weight), bad
    values = torch.stack([loss.total.double(), loss.weight.double(), loss.total.new_tensor(bad)])
    dist.all_reduce(values)
    total, weight, num_bad = values.tolist()
    return total, weight, num_bad


def _everywhere(suspects: list[Suspect]) -> list[Suspect]:
    """Return those of all ranks, each image once, the worst first."""
    found = [suspect for part in gathered(suspects) for suspect in part]
    found.sort(key=lambda s: (s.is_finite, -(s.loss or 0.0), s.image_id))
    return list({suspect.image_id: suspect for suspect in reversed(found)}.values())[::-1]


def _named(suspects: Sequence[Suspect]) -> str:
    bad = [s for s in suspects if not s.is_finite]
    chosen = bad or suspects
    shown = ", ".join(suspect.words() for suspect in chosen[:_NAMED])
    more = f" and {len(chosen) - _NAMED} more" if len(chosen) > _NAMED else ""
    if bad:
        return f"Images whose own loss is no number, of {len(suspects)}: {shown}{more}"
    return f"The images of the batch, the largest loss first: {shown}{more}"
