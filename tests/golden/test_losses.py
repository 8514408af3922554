"""The first losses of each objective: a change of a formula cannot pass unseen.

Made anew with `python -m tests.golden.test_losses`, when a change is meant.
"""

import json
from pathlib import Path

import pytest
import torch

from tests.fakes.toys import make_model, make_source
from training.journal import Journal, read_journal
from training.loop import Loop, LoopConfig
from training.objectives.flow import FlowConfig, FlowObjective, SigmaConfig
from training.optimizers import OptimizerConfig

FILE = Path(__file__).parent / "files" / "losses.json"
TOLERANCE = 1e-4
"""Relative: sums are added in another order on another processor."""


def flow(model):
    """Make the objective as it is golden."""
    return FlowObjective(FlowConfig(sigma=SigmaConfig(shift=3.0), weighting="bell"), model)


OBJECTIVES = {"flow": flow}


def losses(name, folder):
    """Train 20 steps; return the losses and the gradients' norms."""
    torch.set_num_threads(1)
    loop = Loop(
        OBJECTIVES[name](make_model()),
        make_source(),
        LoopConfig(steps=20, log_every=1),
        {"model": OptimizerConfig(lr=1e-3, warmup_steps=5)},
        journal=Journal(folder, 0),
    )
    loop.run()
    lines = read_journal(folder)
    return [[line["model/loss"], line["model/grad_norm"]] for line in lines]


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_the_first_losses_are_what_they_were(name, tmp_path):
    """Twenty steps of the tiny model, loss by loss."""
    expected = json.loads(FILE.read_text(encoding="utf-8"))[name]

    found = losses(name, tmp_path)

    for step, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert one == pytest.approx(other, rel=TOLERANCE), step


if __name__ == "__main__":
    import tempfile

    made = {}
    for objective in sorted(OBJECTIVES):
        with tempfile.TemporaryDirectory() as scratch:
            made[objective] = losses(objective, Path(scratch))
    FILE.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
