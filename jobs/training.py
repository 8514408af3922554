"""Training on Ray, up to where Ray is needed: what the command line and the Ray job share."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import torch

from curation.errors import ResourceError
from curation.storage import Store
from training.progress import Hear
from training.recipe import Recipe
from training.run import is_finished, prepare

NOT_STOPPED = 0


@dataclass(frozen=True)
class TrainingEnd:
    """How a training job ended.

    Attributes:
        output: Where its checkpoints lie.
        snapshot: What was trained on.
        num_images: How many images that has.
        step: The last step.
        was_finished: Whether there was nothing to do.
        exit_code: 0, or what shells say after the signal that stopped it.
    """

    output: str
    snapshot: str
    num_images: int
    step: int
    was_finished: bool = False
    exit_code: int = NOT_STOPPED

    def lines(self) -> list[str]:
        """Say it for people."""
        if self.was_finished:
            return [f"finished already, at step {self.step:,}: {self.output}"]
        if self.exit_code != NOT_STOPPED:
            where = f"after step {self.step:,}, whose checkpoint is written" if self.step else ""
            return [f"stopped {where or 'before the first step'}; go on with --resume"]
        return [
            f"{self.num_images:,} images of snapshot {self.snapshot[:12]}",
            f"checkpoints, figures and pictures: {self.output}",
            f"what it learnt, to look at: {self.output.rstrip('/')}/summary.html",
        ]


def train_on_ray(
    recipe: Recipe,
    *,
    resume: bool = False,
    address: str | None = None,
    hear: Hear = lambda step, figures: None,
    say: Callable[[str], None] = lambda line: None,
) -> TrainingEnd:
    """Train on a Ray cluster; everything that can be refused is, before Ray is asked for anything.

    Args:
        recipe: The recipe.
        resume: Go on from the newest complete checkpoint.
        address: Of a running cluster; null takes `RAY_ADDRESS`, or starts Ray on this machine.
        hear: Told figures as they come.
        say: Told what happens to the machines.

    Raises:
        UsageError: What `prepare` refuses; or a cluster that cannot hold the processes.
        TrainingLostError: The processes were lost again and again.
        TrainingStoppedError: A loss was no number, or rose out of all proportion.
    """
    run, start = prepare(recipe, resume=resume, device=torch.device("cpu"))
    end = TrainingEnd(recipe.output, run.snapshot, len(run.table), start or 0)
    if is_finished(run, start):
        return TrainingEnd(end.output, end.snapshot, end.num_images, end.step, was_finished=True)
    if find_spec("ray") is None:
        message = (
            "Ray is not installed here; run `pip install 'longtail[ray]'`, or go without it on "
            "this machine: leave --ray out, or start with torchrun"
        )
        raise ResourceError(message)
    from jobs.ray_train import RayTraining

    # Snapshot and places are settled here: workers stand in other folders, and `latest` may move.
    settled = recipe.model_copy(
        update={
            "snapshot": run.snapshot,
            "dataset": Store(recipe.dataset).url,
            "output": run.checkpoints.store.url,
        }
    )
    step, exit_code = RayTraining(settled, run.checkpoints, hear, say).run(address)
    return TrainingEnd(end.output, end.snapshot, end.num_images, step, exit_code=exit_code)
