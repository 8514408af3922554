"""The only training loop: it knows no objective by name."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch.distributed as dist
from pydantic import Field
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    get_model_state_dict,
    set_model_state_dict,
)
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from curation.config import Config
from curation.errors import LongtailError
from training.checkpoint import Checkpoints
from training.data.plan import Cursor
from training.data.source import BatchSource, GlobalBatch, Prefetch
from training.ema import Ema
from training.generators import generator_states, restore_generators
from training.journal import Journal
from training.objectives.base import Metric, Objective, Phase
from training.optimizers import (
    OptimizerConfig,
    check_ranks,
    make_optimizer,
    optimizer_tensors,
    rate,
    restore_optimizer,
    set_rate,
)
from training.ranks import rank, world_size


class TrainingStoppedError(LongtailError):
    """The run ended itself: a loss was not a number, or rose out of all proportion."""


class LoopConfig(Config):
    """How long a run goes on, and what it leaves behind.

    Attributes:
        steps: Optimizer steps of the whole run.
        checkpoint_every: Steps between checkpoints.
        keep_last: Checkpoints that are kept; null for all.
        log_every: Steps whose figures make one line.
        spike: A loss this many times the recent mean ends the run; null for never.
        prefetch: Global batches that are made ahead.
    """

    steps: int = Field(ge=1)
    checkpoint_every: int = Field(default=500, ge=1)
    keep_last: int | None = Field(default=3, ge=1)
    log_every: int = Field(default=10, ge=1)
    spike: float | None = Field(default=20.0, gt=1)
    prefetch: int = Field(default=2, ge=1, le=64)


class _Trained:
    """A role: its module, optimizer and average."""

    def __init__(self, module: nn.Module, config: OptimizerConfig) -> None:
        self.module = module
        self.config = config
        self.optimizer = make_optimizer(config, module)
        self.ema = None if config.ema_decay is None else Ema(module, config.ema_decay)
        self.num_steps = 0

    def tensors(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of it."""
        found: dict[str, Any] = {
            "model": get_model_state_dict(self.module),
            "optimizer": optimizer_tensors(self.config, self.module, self.optimizer),
        }
        if self.ema is not None:
            found["ema"] = self.ema.shadow
        return found

    def restore(self, tensors: Mapping[str, Any]) -> None:
        """Take in what `tensors` said and `Checkpoints.load` filled."""
        set_model_state_dict(self.module, tensors["model"])
        restore_optimizer(self.config, self.module, self.optimizer, tensors["optimizer"])


class Loop:
    """Trains an objective's roles on a source's batches.

    Args:
        objective: What is minimised.
        source: Makes batches.
        config: How long.
        optimizers: Role -> its optimizer's configuration.
        checkpoints: Where the run is kept; null to keep nothing.
        journal: Where figures go.
        facts: What every checkpoint says of the run: recipe, snapshot, encoders.

    Attributes:
        step: Optimizer steps made so far.
    """

    def __init__(
        self,
        objective: Objective,
        source: BatchSource,
        config: LoopConfig,
        optimizers: Mapping[str, OptimizerConfig],
        *,
        checkpoints: Checkpoints | None = None,
        journal: Journal | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.objective = objective
        self.step = 0
        self._source = source
        self._config = config
        self.checkpoints = checkpoints
        self.journal = journal
        self._facts = dict(facts or {})
        self._state: dict[str, Any] = {}
        self._cursor = Cursor()
        self._usual: float | None = None
        self.trained = {
            name: _Trained(module, optimizers[name]) for name, module in objective.roles.items()
        }

    @property
    def stage(self) -> int:
        """The stage of the last step's batch, from 0."""
        return self._cursor.stage

    # Resuming ----------------------------------------------------------------------------------

    def restore(self, step: int) -> None:
        """Go on from a checkpoint as if the run had never stopped.

        Ranks that it knows nothing of, on a larger number of them, keep their generators as they
        are; nothing that we draw comes from those.

        Raises:
            UsageError: It can be taken in by another number of ranks only.
        """
        assert self.checkpoints is not None
        state = self.checkpoints.state(step)
        check_ranks(state, self.checkpoints.store.url)
        tensors: dict[str, Any] = {
            name: trained.tensors() for name, trained in self.trained.items()
        }
        own, told = f"rank-{rank()}", state["generators"]
        if rank() < state["world_size"]:
            states = {kind: s for kind, s in generator_states().items() if kind in told}
            tensors["generators"] = {own: states}
        self.checkpoints.load(step, tensors)
        for name, trained in self.trained.items():
            trained.restore(tensors[name])
            trained.num_steps = state["roles"][name]["num_steps"]
            if trained.ema is not None:
                trained.ema.num_updates = state["roles"][name]["ema_updates"]
        self.step = step
        self._state = state["objective"]
        self._cursor = Cursor.from_json(state["cursor"])
        self._usual = state["usual_loss"]
        if "generators" in tensors:
            restore_generators(tensors["generators"][own])

    def save(self) -> None:
        """Write a checkpoint of now; all ranks do it together."""
        assert self.checkpoints is not None
        generators = generator_states()
        state = {
            **self._facts,
            "step": self.step,
            "world_size": world_size(),
            "cursor": self._cursor.to_json(),
            "objective": self._state,
            "usual_loss": self._usual,
            "generators": list(generators),
            "roles": {
                name: {
                    "num_steps": trained.num_steps,
                    "ema_updates": 0 if trained.ema is None else trained.ema.num_updates,
                    "optimizer": trained.config.kind,
                }
                for name, trained in self.trained.items()
            },
        }
        tensors: dict[str, Any] = {
            name: trained.tensors() for name, trained in self.trained.items()
        }
        tensors["generators"] = {f"rank-{rank()}": generators}
        self.checkpoints.save(self.step, tensors, state)

    # Running -----------------------------------------------------------------------------------

    def run(self, on_step: Callable[[int], None] = lambda step: None) -> None:
        """Train to the last step.

        Args:
            on_step: Called after every step, with the step's checkpoint begun if one is due.

        Raises:
            TrainingStoppedError: A loss or a gradient is no number, or a loss rose beyond
                `spike`; nothing of that step was kept.
        """
        batches = Prefetch(self._source, self._cursor, self._config.prefetch)
        figures = _Figures()
        try:
            given = iter(batches)
            while self.step < self._config.steps:
                self._step(given, figures)
                if self.step % self._config.log_every == 0:
                    self._log(figures)
                    figures = _Figures()
                if self.checkpoints is not None and self._is_due():
                    self.save()
                on_step(self.step)
        finally:
            batches.close()
            if self.checkpoints is not None:
                self.checkpoints.wait()
            if self.journal is not None:
                self.journal.close()

    def _is_due(self) -> bool:
        every, last = self._config.checkpoint_every, self._config.steps
        return self.step % every == 0 or self.step == last

    def _step(self, given: Iterator[GlobalBatch], figures: "_Figures") -> None:
        phase = self.objective.next_phase(self._state)
        trained = self.trained[phase.role]
        trained.module.train()
        trained.optimizer.zero_grad(set_to_none=True)
        begun = time.perf_counter()
        found: dict[str, Metric] = {}
        ids: list[str] = []
        for _ in range(phase.num_batches):
            waited = time.perf_counter()
            batch = next(given)
            figures.waited += time.perf_counter() - waited
            ids += self._backward(phase, batch, found)
            figures.samples += batch.num_samples
            cursor = batch.cursor
        norm = self._clip(trained, found, ids)
        set_rate(trained.optimizer, rate(trained.config, trained.num_steps, self._config.steps))
        trained.optimizer.step()
        trained.num_steps += 1
        if trained.ema is not None:
            trained.ema.update()
        self.step += 1
        self._cursor = cursor
        figures.add(phase.role, found, norm, time.perf_counter() - begun)

    def _backward(self, phase: Phase, batch: GlobalBatch, found: dict[str, Metric]) -> list[str]:
        """Add a global batch's gradients and figures; return the ids of this rank's images."""
        ids: list[str] = []
        for number, micro in enumerate(batch.micro):
            is_last = number == len(batch.micro) - 1
            for trained in self.trained.values():
                if isinstance(trained.module, FSDPModule):
                    trained.module.set_requires_gradient_sync(is_last)
            update = self.objective.update(phase, micro)
            # Sharded gradients are averaged over ranks; losses are parts of one sum.
            (update.loss * world_size() / phase.num_batches).backward()
            for name, metric in update.metrics.items():
                before = found.get(name)
                found[name] = (
                    metric
                    if before is None
                    else Metric(before.total + metric.total, before.weight + metric.weight)
                )
            ids += micro.image_ids
        return ids

    def _clip(self, trained: _Trained, found: Mapping[str, Metric], ids: list[str]) -> float:
        """Scale the gradients down; refuse those that are no numbers, before any weight moves."""
        norm = nn.utils.clip_grad_norm_(
            [p for p in trained.module.parameters() if p.grad is not None],
            trained.config.max_grad_norm,
        )
        value = float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
        loss = _mean(found["loss"])
        if not (math.isfinite(value) and math.isfinite(loss)):
            message = (
                f"step {self.step + 1}: the loss is {loss:g} and the gradient's norm {value:g}; "
                f"nothing was changed. The images of the batch: {', '.join(ids[:8])}"
                f"{' ...' if len(ids) > 8 else ''}. Lower the rate, or look at them"
            )
            raise TrainingStoppedError(message)
        self._check_spike(loss, ids)
        return value

    def _check_spike(self, loss: float, ids: list[str]) -> None:
        limit = self._config.spike
        if limit is not None and self._usual is not None and loss > limit * self._usual:
            message = (
                f"step {self.step + 1}: the loss {loss:g} is more than {limit:g} times the recent "
                f"{self._usual:g}; nothing was changed. The images of the batch: "
                f"{', '.join(ids[:8])}{' ...' if len(ids) > 8 else ''}. Resume with a lower rate, "
                "or raise loop.spike"
            )
            raise TrainingStoppedError(message)
        self._usual = loss if self._usual is None else 0.98 * self._usual + 0.02 * loss

    def _log(self, figures: "_Figures") -> None:
        lines = figures.close()
        if self.journal is not None:
            for role, trained in self.trained.items():
                if f"{role}/steps" in lines:
                    lines[f"{role}/lr"] = float(trained.optimizer.param_groups[0]["lr"])
            self.journal.write(self.step, lines)


class _Figures:
    """Figures of some steps."""

    def __init__(self) -> None:
        self.waited = 0.0
        self.samples = 0
        self._seconds = 0.0
        self._norms: dict[str, list[float]] = {}
        self._sums: dict[str, tuple[float, float]] = {}

    def add(self, role: str, found: Mapping[str, Metric], norm: float, seconds: float) -> None:
        """Take a step in."""
        self._seconds += seconds
        self._norms.setdefault(role, []).append(norm)
        for name, metric in found.items():
            total, weight = self._sums.get(f"{role}/{name}", (0.0, 0.0))
            self._sums[f"{role}/{name}"] = (
                total + over_ranks(metric.total),
                weight + over_ranks(metric.weight),
            )

    def close(self) -> dict[str, float]:
        """Return the means."""
        lines = {name: t / w for name, (t, w) in sorted(self._sums.items()) if w}
        for role, norms in self._norms.items():
            lines[f"{role}/grad_norm"] = sum(norms) / len(norms)
            lines[f"{role}/steps"] = len(norms)
        lines["samples_per_s"] = self.samples / max(self._seconds, 1e-9)
        lines["wait_share"] = self.waited / max(self._seconds, 1e-9)
        return lines


def _mean(metric: Metric) -> float:
    """Return a figure over all ranks; 0 where nothing counted."""
    weight = over_ranks(metric.weight)
    return over_ranks(metric.total) / weight if weight else 0.0


def over_ranks(value: Tensor) -> float:
    """Return the sum over all ranks."""
    if world_size() > 1:
        value = value.detach().clone()
        dist.all_reduce(value)
    return float(value)
