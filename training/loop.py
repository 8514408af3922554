"""The only training loop: it knows no objective by name."""

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from pydantic import Field
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    set_model_state_dict,
)
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from curation.config import Config
from training.checkpoint import Checkpoints
from training.data.plan import Cursor
from training.data.source import BatchSource, GlobalBatch, Prefetch
from training.ema import Ema
from training.figures import Figures, Meter
from training.generators import generator_states, restore_generators
from training.guard import Guard, Seen, TrainingStoppedError
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

_TRAINED_ONLY = StateDictOptions(ignore_frozen_params=True, strict=False)
"""The frozen weights under an adapter are in no checkpoint."""


class LoopConfig(Config):
    """How long a run goes on, and what it leaves behind.

    Attributes:
        steps: Optimizer steps of the whole run.
        checkpoint_every: Steps between checkpoints.
        keep_last: Checkpoints that are kept; null for all.
        log_every: Steps whose figures make one line, at most: each checkpoint ends a line, so that
            a run that goes on from it has the lines of one that was left alone.
        spike: A loss this many times the recent mean of its role ends the run; null for never.
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

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return next(self.module.parameters()).device

    def tensors(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of it."""
        found: dict[str, Any] = {
            "model": get_model_state_dict(self.module, options=_TRAINED_ONLY),
            "optimizer": optimizer_tensors(self.config, self.module, self.optimizer),
        }
        if self.ema is not None:
            found["ema"] = self.ema.shadow
        return found

    def restore(self, tensors: Mapping[str, Any]) -> None:
        """Take in what `tensors` said and `Checkpoints.load` filled."""
        set_model_state_dict(self.module, tensors["model"], options=_TRAINED_ONLY)
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
        meter: What the model costs, for MFU.
        on_figures: Called with each line of figures, on every rank.

    Attributes:
        step: Optimizer steps made so far.
        num_samples: Samples that they were made from.
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
        meter: Meter | None = None,
        on_figures: Callable[[int, Mapping[str, float]], None] = lambda step, figures: None,
    ) -> None:
        self.objective = objective
        self.step = 0
        self.num_samples = 0
        self._source = source
        self._config = config
        self.checkpoints = checkpoints
        self.journal = journal
        self._facts = dict(facts or {})
        self._state: dict[str, Any] = {}
        self._cursor = Cursor()
        self._guard = Guard(config.spike)
        self._meter = meter
        self._on_figures = on_figures
        self.trained = {
            name: _Trained(module, optimizers[name]) for name, module in objective.roles.items()
        }
        self._line = self._figures()

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
        self.num_samples = state["samples"]
        self._guard.restore(state["usual_loss"])
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
            "samples": self.num_samples,
            "usual_loss": self._guard.to_json(),
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

    def save_between(self) -> None:
        """Write a checkpoint at a step that has none, and the line of figures that ends there."""
        if self.step % self._config.log_every:  # else it is written already
            self._log()
        if self.journal is not None:
            self.journal.flush()
        self.save()

    # Running -----------------------------------------------------------------------------------

    def run(
        self,
        on_step: Callable[[int], None] = lambda step: None,
        look: Callable[[int], None] = lambda step: None,
    ) -> None:
        """Train to the last step.

        Args:
            on_step: Called after every step, with the step's checkpoint begun if one is due.
            look: Called after every step, before its checkpoint: so what it writes to the journal
                is there wherever that step is gone on from.

        Raises:
            TrainingStoppedError: A loss or a gradient is no number, or a loss rose beyond
                `spike`; nothing of that step was kept.
        """
        batches = Prefetch(self._source, self._cursor, self._config.prefetch)
        try:
            given = iter(batches)
            while self.step < self._config.steps:
                self._step(given, self._line)
                is_due = self._is_due()
                if is_due or self.step % self._config.log_every == 0:
                    self._log()
                look(self.step)
                if self.checkpoints is not None and is_due:
                    if self.journal is not None:
                        self.journal.flush()
                    self.save()
                on_step(self.step)
        except TrainingStoppedError as error:
            if self.journal is not None:
                self.journal.event(error.step, "stopped", error.facts())
            raise
        finally:
            batches.close()
            try:
                if self.checkpoints is not None:
                    self.checkpoints.wait()
            finally:
                if self.journal is not None:
                    self.journal.close()

    def _is_due(self) -> bool:
        every, last = self._config.checkpoint_every, self._config.steps
        return self.step % every == 0 or self.step == last

    def _step(self, given: Iterator[GlobalBatch], figures: Figures) -> None:
        begun = time.perf_counter()
        state = copy.deepcopy(self._state)
        phase = self.objective.next_phase(state)
        trained = self.trained[phase.role]
        trained.module.train()
        trained.optimizer.zero_grad(set_to_none=True)
        found: dict[str, Metric] = {}
        seen = Seen()
        num_samples = 0
        for _ in range(phase.num_batches):
            waited = time.perf_counter()
            batch = next(given)
            figures.waited(time.perf_counter() - waited)
            self._backward(phase, batch, found, seen)
            for micro in batch.micro:
                figures.computed(phase, micro)
            num_samples += batch.num_samples
            cursor = batch.cursor
        norm = clip(trained.module, trained.config.max_grad_norm)
        self._guard.check(self.step + 1, phase.role, found["loss"], norm, seen)
        set_rate(trained.optimizer, rate(trained.config, trained.num_steps, self._config.steps))
        trained.optimizer.step()
        trained.num_steps += 1
        if trained.ema is not None:
            trained.ema.update()
        self.step += 1
        self.num_samples += num_samples
        self._state = state
        self._cursor = cursor
        seconds = time.perf_counter() - begun
        figures.add(phase.role, found, norm=norm, seconds=seconds, num_samples=num_samples)

    def _backward(
        self, phase: Phase, batch: GlobalBatch, found: dict[str, Metric], seen: Seen
    ) -> None:
        """Add a global batch's gradients and figures."""
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
            seen.add(micro, update.samples)

    def _figures(self) -> Figures:
        device = next(iter(self.trained.values())).device
        return Figures(device, self._meter)

    def _log(self) -> None:
        lines = self._line.close()
        self._line = self._figures()
        for role, trained in self.trained.items():
            if f"{role}/steps" in lines:
                lines[f"{role}/lr"] = float(trained.optimizer.param_groups[0]["lr"])
        lines["samples"] = self.num_samples
        lines["epoch"] = self._cursor.epoch
        if self.journal is not None:
            self.journal.write(self.step, lines)
        self._on_figures(self.step, lines)


def clip(module: nn.Module, max_norm: float) -> float:
    """Scale a module's gradients down to a norm; return the one that they had, over all ranks."""
    gradients = [p for p in module.parameters() if p.grad is not None]
    norm = nn.utils.clip_grad_norm_(gradients, max_norm)
    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
