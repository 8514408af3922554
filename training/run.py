"""A run: from a recipe to a trained model, in this process.

Several processes (torchrun, Ray Train) each call `train`; they find each other through
torch.distributed, which whoever starts them has set up.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from curation.config import Config
from curation.dataset import Dataset
from curation.fingerprint import digest
from curation.snapshot.read import find_snapshot
from training.agreement import Agreement
from training.checkpoint import Checkpoints
from training.data.buckets import scaled_buckets
from training.data.images import ImageReader
from training.data.source import SnapshotSource, domain_of
from training.data.table import TrainingTable, read_training_table
from training.encoders.latents import LatentCodec, make_codec
from training.encoders.texts import TextEncoder, make_text_encoder
from training.evaluate import Evaluation
from training.heard import Hear, HeardJournal
from training.journal import Journal
from training.loop import Loop
from training.model import Dit
from training.objectives import OBJECTIVES
from training.preflight import check_encoders, check_weights, newest_step
from training.ranks import rank, world_size
from training.recipe import Recipe, meaningful
from training.sharding import compute_in, shard_model
from training.stopping import TrainingInterruptedError


class Run:
    """A recipe put together: everything that `train`, and looking at its results, needs.

    Making one reads the snapshot's table and refuses what it lacks; encoders, which may be large,
    are loaded when they are first used.

    Args:
        recipe: The recipe.
        device: Where it computes; null for a GPU if there is one.
    """

    def __init__(self, recipe: Recipe, device: torch.device | None = None) -> None:
        self.recipe = recipe
        self.device = device or default_device()
        self.dataset = Dataset.open(recipe.dataset)
        self.snapshot = find_snapshot(self.dataset, recipe.snapshot)
        self.table = read_training_table(self.dataset, self.snapshot, "train")
        self.table.check(recipe.data.captions)
        self.held_out = read_training_table(self.dataset, self.snapshot, "validation")
        self.checkpoints = Checkpoints(recipe.output, recipe.loop.keep_last)

    @cached_property
    def codec(self) -> LatentCodec:
        """Pictures to latents."""
        return make_codec(self.recipe.codec)

    @cached_property
    def texts(self) -> TextEncoder:
        """Captions to features."""
        return make_text_encoder(self.recipe.text)

    @cached_property
    def buckets(self) -> tuple[tuple[int, int], ...]:
        """The sizes that images have, (width, height) in pixels."""
        return scaled_buckets(self.recipe.data.edge_px, self.codec.stride)

    def model(self) -> Dit:
        """Make the model with the weights that the seed gives."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.recipe.seed)
            model = Dit(self.recipe.model, self.codec.channels, self.texts.width)
        model = shard_model(model.to(self.device), self.device, self.recipe.precision)
        compute_in(model, self.recipe.precision, self.device)
        return model

    def source(self, table: TrainingTable, *, held_out: bool = False) -> SnapshotSource:
        """Make the batches of a split; held-out images are shown whole, with their captions."""
        data = self.recipe.data
        captions = data.captions
        if held_out:
            captions = captions.model_copy(update={"dropout": 0.0, "without": "unconditional"})
        tokens = [w * h // self.codec.stride**2 for w, h in self.buckets]
        return SnapshotSource(
            table,
            self.codec,
            self.texts,
            ImageReader(table, self.buckets, self.recipe.protocols, data.cache_bytes),
            batch=data.batch,
            captions=captions,
            seed=self.recipe.seed,
            image_tokens=tokens,
            device=self.device,
            domain_of=domain_of(data.domains),
            rank=rank(),
            world_size=world_size(),
            micro_size=data.micro_size,
            flip=data.flip and not held_out,
            use_weights=data.loss_weight == "snapshot" and not held_out,
        )

    def pictures(self, table: TrainingTable, positions: Sequence[int]) -> NDArray[np.uint8]:
        """Return images of one bucket as (len(positions), height, width, 3)."""
        reader = ImageReader(table, self.buckets, self.recipe.protocols, 0)
        return np.stack(reader.read(positions))

    def facts(self) -> dict[str, Any]:
        """Return what every checkpoint says of the run."""
        recipe = self.recipe.model_dump(mode="json")
        return {
            "dataset": self.recipe.dataset,
            "dataset_id": self.dataset.info.dataset_id,
            "snapshot": self.snapshot,
            "recipe": recipe,
            "places": {"codec": _fields(self.recipe.codec), "text": _fields(self.recipe.text)},
            "encoders": self.encoders(),
            "meaning": self.meaning(),
        }

    def encoders(self) -> dict[str, Any]:
        """Return what the encoders are."""
        return {"codec": dict(self.codec.identity()), "text": dict(self.texts.identity())}

    def meaning(self, encoders: Mapping[str, Any] | None = None) -> str:
        """Return what a checkpoint must share with a run that goes on from it.

        Args:
            encoders: What `encoders` says, where that is known without loading them.
        """
        known = self.encoders() if encoders is None else dict(encoders)
        recipe = meaningful(self.recipe.model_dump(mode="json"))
        return digest({"recipe": recipe, "encoders": known, "snapshot": self.snapshot})


def _fields(config: Config) -> dict[str, Any]:
    """Return every field, those that name places too."""
    return {name: getattr(config, name) for name in type(config).model_fields}


def train(
    recipe: Recipe,
    *,
    resume: bool = False,
    device: torch.device | None = None,
    on_step: Callable[[int], None] = lambda step: None,
) -> Run:
    """Train as a recipe says, to its last step; a run that is there already is left alone.

    Args:
        recipe: The recipe.
        resume: Go on from the newest complete checkpoint of the output.
        device: Where; null for a GPU if there is one.
        on_step: Called after every step.

    Raises:
        UsageError: The output holds another run, or checkpoints although `resume` is not asked for;
            the snapshot lacks what the recipe needs.
        TrainingStoppedError: A loss was no number, or rose out of all proportion.
    """
    run, start = prepare(recipe, resume=resume, device=device)
    carry_out(run, start, on_step=on_step)
    return run


def prepare(
    recipe: Recipe, *, resume: bool = False, device: torch.device | None = None
) -> tuple[Run, int | None]:
    """Do everything that can refuse a recipe without a device and without loading weights.

    Returns:
        The run, and the step to go on from; null for the beginning.

    Raises:
        UsageError: See `train`.
    """
    run = Run(recipe, device)
    start = newest_step(run, resume=resume)
    check_weights(recipe)
    return run, start


def carry_out(
    run: Run,
    start: int | None,
    *,
    on_step: Callable[[int], None] = lambda step: None,
    hear: Hear = lambda step, figures: None,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Train what was prepared, on this rank.

    Args:
        run: What `prepare` made.
        start: The step to go on from.
        on_step: Called after every step.
        hear: Told figures as they come, on rank 0.
        stop: Asked after every step whether to stop; one rank's yes counts for all.

    Raises:
        UsageError: The ranks do not train the same, or not into the same place.
        TrainingInterruptedError: `stop` said so, and the checkpoint of the last step is written.
        TrainingStoppedError: See `train`.
    """
    recipe = run.recipe
    if is_finished(run, start):
        return
    agreement = Agreement(recipe.workers.timeout_s)
    agreement.check_same({"snapshot": run.snapshot, "checkpoint": str(start)})
    agreement.check_shared(run.checkpoints.store)
    check_encoders(run, start)
    agreement.check_same({"recipe or encoder": run.meaning()})
    torch.manual_seed(recipe.seed)  # every draw has its own key; this is for what a library draws
    model = run.model()
    objective = OBJECTIVES[recipe.objective.objective](recipe.objective, model)
    is_first = rank() == 0
    folder = _journal_folder(run.checkpoints) if is_first else None
    journal = HeardJournal(folder, start or 0, hear) if is_first else Journal(None, start or 0)
    loop = Loop(
        objective,
        run.source(run.table),
        recipe.loop,
        dict.fromkeys(objective.roles, recipe.optimizer),
        checkpoints=run.checkpoints,
        journal=journal,
        facts=run.facts(),
    )
    if start is not None:
        loop.restore(start)
    evaluation = Evaluation(run, loop, folder)

    def after(step: int) -> None:
        if step % recipe.evaluation.every == 0 or step == recipe.loop.steps:
            journal.write(step, evaluation.at(step))
        on_step(step)
        if step < recipe.loop.steps and agreement.any(stop()):
            if step % recipe.loop.checkpoint_every:  # else it is written already
                loop.save()
            raise TrainingInterruptedError(step)

    loop.run(after)


def is_finished(run: Run, start: int | None) -> bool:
    """Say whether the step to go on from is the last."""
    return start is not None and start >= run.recipe.loop.steps


def default_device() -> torch.device:
    """Return a GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _journal_folder(checkpoints: Checkpoints) -> Path | None:
    """Return where figures go: beside the checkpoints, where those are on this machine."""
    return checkpoints.store.local("") if checkpoints.store.is_local else None
