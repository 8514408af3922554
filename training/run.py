"""A run: from a recipe to a trained model, in this process.

Several processes (torchrun, Ray Train) each call `train`; they find each other through
torch.distributed, which whoever starts them has set up.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from curation.config import Config
from curation.dataset import Dataset
from curation.errors import UsageError
from curation.fingerprint import digest
from curation.snapshot.read import find_snapshot
from training.checkpoint import Checkpoints
from training.data.buckets import scaled_buckets
from training.data.cache import Cache, open_cache
from training.data.captions import CaptionConfig
from training.data.features import null_features
from training.data.images import ImageReader
from training.data.source import SnapshotSource, domain_of
from training.data.table import TrainingTable, read_training_table
from training.encoders.latents import LatentCodec
from training.encoders.lazy import LazyCodec, LazyTextEncoder
from training.encoders.texts import TextEncoder
from training.evaluate import Evaluation
from training.journal import Journal
from training.loop import Loop
from training.model import Dit
from training.null_text import null_to_json
from training.objectives import OBJECTIVES
from training.ranks import rank, world_size
from training.recipe import Recipe
from training.sharding import compute_in, shard_model


class Run:
    """A recipe put together: everything that `train`, and looking at its results, needs.

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
        self.codec: LatentCodec = LazyCodec(recipe.codec)
        self.texts: TextEncoder = LazyTextEncoder(recipe.text)
        self.caches = {
            id(self.table): self._cache(self.table, held_out=False),
            id(self.held_out): self._cache(self.held_out, held_out=True),
        }
        self.buckets = scaled_buckets(recipe.data.edge_px, self.codec.stride)
        self.checkpoints = Checkpoints(recipe.output, recipe.loop.keep_last)

    def model(self) -> Dit:
        """Make the model with the weights that the seed gives."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.recipe.seed)
            model = Dit(self.recipe.model, self.codec.channels, self.texts.width)
        model = shard_model(model.to(self.device), self.device, self.recipe.precision)
        compute_in(model, self.recipe.precision, self.device)
        return model

    def _captions(self, *, held_out: bool) -> CaptionConfig:
        captions = self.recipe.data.captions
        if held_out:
            captions = captions.model_copy(update={"dropout": 0.0, "without": "unconditional"})
        return captions

    def _cache(self, table: TrainingTable, *, held_out: bool) -> Cache:
        """Find what `encode` made of a split; nothing where no image of it is looked at."""
        recipe = self.recipe
        if recipe.data.cache is None or (
            held_out and not (recipe.evaluation.images and len(table))
        ):
            return Cache(None, None)
        return open_cache(
            recipe.data.cache,
            table,
            self.codec,
            self.texts,
            edge_px=recipe.data.edge_px,
            flip=recipe.data.flip and not held_out,
            captions=self._captions(held_out=held_out),
            cache_bytes=recipe.data.cache_bytes,
        )

    @property
    def null_text(self) -> Tensor:
        """Features of the empty text, as batches have them."""
        return null_features(self.caches[id(self.table)], self.texts, self.device)

    def source(self, table: TrainingTable, *, held_out: bool = False) -> SnapshotSource:
        """Make the batches of a split; held-out images are shown whole, with their captions."""
        data = self.recipe.data
        captions = self._captions(held_out=held_out)
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
            cache=self.caches.get(id(table)),
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
            "encoders": {"codec": dict(self.codec.identity()), "text": dict(self.texts.identity())},
            "cache": {
                kind: f"{folder.instance}/{folder.fingerprint}"
                for kind, folder in self.caches[id(self.table)].folders().items()
            },
            "null_text": null_to_json(self.null_text),
            "meaning": self.meaning(),
        }

    def meaning(self) -> str:
        """Return what a checkpoint must share with a run that goes on from it."""
        recipe = self.recipe.model_dump(mode="json")
        for name in ("name", "dataset", "snapshot", "output", "evaluation", "protocols"):
            recipe.pop(name, None)
        for name in ("steps", "checkpoint_every", "keep_last", "log_every", "spike", "prefetch"):
            recipe["loop"].pop(name)
        for name in ("micro_size", "cache", "cache_bytes"):
            recipe["data"].pop(name)
        # Where features come from is no matter; that they are rounded, or some of them, is.
        cache = self.recipe.data.cache
        if cache is not None and (stored := self.caches[id(self.table)].stored()):
            recipe["data"]["cache"] = {"stored": stored, "on_miss": cache.on_miss}
        encoders = {"codec": dict(self.codec.identity()), "text": dict(self.texts.identity())}
        return digest({"recipe": recipe, "encoders": encoders, "snapshot": self.snapshot})


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
    """Train as a recipe says, to its last step.

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
    torch.manual_seed(recipe.seed)  # every draw has its own key; this is for what a library draws
    run = Run(recipe, device)
    start = _start(run, resume=resume)
    model = run.model()
    objective = OBJECTIVES[recipe.objective.objective](recipe.objective, model)
    is_first = rank() == 0
    folder = _journal_folder(run.checkpoints) if is_first else None
    journal = Journal(folder, start or 0)
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

    loop.run(after)
    return run


def default_device() -> torch.device:
    """Return a GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _start(run: Run, *, resume: bool) -> int | None:
    """Return the step to go on from."""
    steps = run.checkpoints.steps()
    where = run.recipe.output
    if not steps:
        return None
    if not resume:
        message = (
            f"{where}: holds checkpoints up to step {steps[-1]}; say --resume to go on from there, "
            "or name another output"
        )
        raise UsageError(message)
    told = run.checkpoints.state(steps[-1])
    if told.get("meaning") != run.meaning():
        message = (
            f"{where}: its checkpoints were made by another recipe, snapshot or encoder (snapshot "
            f"{str(told.get('snapshot'))[:12]}, now {run.snapshot[:12]}); name another output"
        )
        raise UsageError(message)
    return steps[-1]


def _journal_folder(checkpoints: Checkpoints) -> Path | None:
    """Return where figures go: beside the checkpoints, where those are on this machine."""
    return checkpoints.store.local("") if checkpoints.store.is_local else None
