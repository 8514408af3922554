"""A training run of an evidence script: the real loop, which goes on where it was stopped."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from training.checkpoint import Checkpoints
from training.data.source import BatchSource
from training.journal import Journal, read_journal
from training.loop import Loop, LoopConfig
from training.objectives.base import Objective
from training.optimizers import OptimizerConfig

_USED = "processor_s"


def train(
    folder: Path,
    objective: Objective,
    source: BatchSource,
    config: LoopConfig,
    optimizer: OptimizerConfig,
    on_step: Callable[[Loop], None] = lambda loop: None,
) -> Loop:
    """Train to the last step, from the newest checkpoint in `folder` if there is one.

    Args:
        folder: Where checkpoints and figures lie.
        objective: What is minimised.
        source: Makes batches.
        config: How long.
        optimizer: Of every role.
        on_step: Called after every step.
    """
    checkpoints = Checkpoints(str(folder), config.keep_last)
    steps = checkpoints.steps()
    loop = Loop(
        objective,
        source,
        config,
        dict.fromkeys(objective.roles, optimizer),
        checkpoints=checkpoints,
        journal=Journal(folder, steps[-1] if steps else 0),
    )
    if steps:
        loop.restore(steps[-1])
    used = time.process_time()

    def after(step: int) -> None:
        nonlocal used
        if step % config.log_every == 0:
            now = time.process_time()
            assert loop.journal is not None
            loop.journal.write(step, {_USED: now - used})
            used = now
        on_step(loop)

    loop.run(after)
    return loop


def processor_seconds(folder: Path) -> float:
    """Return the processor time of a run's steps and of what was looked at between them.

    It adds up over all starts; steps that were made again count once.
    """
    return sum(float(line[_USED]) for line in read_journal(folder) if _USED in line)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from a generator of its own for a while."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def averaged(loop: Loop, role: str = "model") -> Iterator[None]:
    """Look at a role with its averaged weights for a while."""
    trained = loop.trained[role]
    assert trained.ema is not None
    was_training = trained.module.training
    trained.module.eval()
    with trained.ema.applied():
        yield
    trained.module.train(was_training)
