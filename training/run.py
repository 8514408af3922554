"""A run: from a recipe to a trained model, in this process.

Several processes (torchrun, Ray Train) each call `train`; they find each other through
torch.distributed, which whoever starts them has set up.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from curation.config import Config
from curation.dataset import Dataset
from curation.errors import LongtailError
from curation.fingerprint import digest
from curation.snapshot.read import find_snapshot
from curation.storage import Store
from training.agreement import Agreement
from training.boards import make_boards
from training.checkpoint import Checkpoints
from training.data.buckets import scaled_buckets
from training.data.cache import Cache, open_cache
from training.data.captions import CaptionConfig
from training.data.features import null_features
from training.data.images import ImageReader
from training.data.source import SnapshotSource, domain_of
from training.data.stages import StagedSource
from training.data.table import TrainingTable, read_training_table
from training.encoders.latents import LatentCodec
from training.encoders.lazy import LazyCodec, LazyTextEncoder
from training.encoders.texts import TextEncoder
from training.evaluate import Evaluation
from training.figures import Meter
from training.flops import TERA, model_flops, published_peak, trained_share
from training.generators import seed_generators
from training.journal import Journal
from training.loop import Loop
from training.making import make_model
from training.model import Dit
from training.null_text import null_to_json
from training.objectives import OBJECTIVES
from training.preflight import check_encoders, check_weights, newest_step
from training.progress import Hear
from training.ranks import rank, world_size
from training.recipe import Recipe, in_step, meaningful
from training.record import write_record
from training.start import Start, find_start
from training.stopping import TrainingInterruptedError
from training.summary import write_summary


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
        self.stages = recipe.data.resolved_stages()
        numbers = range(len(self.stages))
        self.caches = {
            held_out: [self._cache(number, held_out=held_out) for number in numbers]
            for held_out in (False, True)
        }
        self.buckets = [scaled_buckets(s.edge_px, self.codec.stride) for s in self.stages]
        self.checkpoints = Checkpoints(recipe.output, recipe.loop.keep_last)
        weights = recipe.model.weights
        self.start: Start | None = (
            None if weights is None else find_start(weights, last=recipe.model.last)
        )

    def model(self, *, is_restored: bool = False) -> Dit:
        """Make the model with its first weights; `is_restored` where a checkpoint will fill it."""
        return make_model(
            self.recipe,
            self.codec.channels,
            self.texts.width,
            self.device,
            self.start,
            is_restored=is_restored,
        )

    def _captions(self, *, held_out: bool) -> CaptionConfig:
        captions = self.recipe.data.captions
        if held_out:
            captions = captions.model_copy(update={"dropout": 0.0, "without": "unconditional"})
        return captions

    def _cache(self, stage: int, *, held_out: bool) -> Cache:
        """Find what `encode` made of a split; nothing where no image of it is looked at."""
        recipe = self.recipe
        table, staged = self.held_out if held_out else self.table, self.stages[stage]
        if staged.cache is None or (held_out and not (recipe.evaluation.images and len(table))):
            return Cache(None, None)
        return open_cache(
            staged.cache,
            table,
            self.codec,
            self.texts,
            edge_px=staged.edge_px,
            flip=recipe.data.flip and not held_out,
            captions=self._captions(held_out=held_out),
            cache_bytes=recipe.data.cache_bytes,
        )

    @property
    def null_text(self) -> Tensor:
        """Features of the empty text, as batches have them."""
        return null_features(self.caches[False][0], self.texts, self.device)

    def staged_source(self) -> StagedSource:
        """Make the batches of the whole run."""
        return StagedSource(self.stages, lambda stage: self.source(self.table, stage=stage))

    def source(
        self, table: TrainingTable, *, held_out: bool = False, stage: int = 0
    ) -> SnapshotSource:
        """Make the batches of a split, in the sizes of a stage.

        Held-out images are shown whole, with their captions.
        """
        data = self.recipe.data
        staged, buckets = self.stages[stage], self.buckets[stage]
        assert staged.batch is not None
        assert staged.micro_size is not None
        captions = self._captions(held_out=held_out)
        tokens = [w * h // self.codec.stride**2 for w, h in buckets]
        return SnapshotSource(
            table,
            self.codec,
            self.texts,
            ImageReader(table, buckets, self.recipe.protocols, data.cache_bytes),
            batch=staged.batch,
            captions=captions,
            seed=self.recipe.seed,
            image_tokens=tokens,
            device=self.device,
            domain_of=domain_of(data.domains),
            rank=rank(),
            world_size=world_size(),
            micro_size=staged.micro_size,
            flip=data.flip and not held_out,
            use_weights=data.loss_weight == "snapshot" and not held_out,
            cache=self.caches[held_out][stage],
        )

    def pictures(self, table: TrainingTable, positions: Sequence[int]) -> NDArray[np.uint8]:
        """Return images of one bucket, as the last stage has them: (N, height, width, 3)."""
        reader = ImageReader(table, self.buckets[-1], self.recipe.protocols, 0)
        return np.stack(reader.read(positions))

    def meter(self, model: Dit) -> Meter:
        """Return what a step costs, and what the device could do."""
        compute = self.recipe.compute
        again = compute.activation_checkpointing
        flops = model_flops(
            self.recipe.model, self.codec.channels, self.texts.width, trained_share(model)
        )
        stated = self.recipe.journal.peak_tflops
        if stated is not None:
            return Meter(flops, stated * TERA, again)
        return Meter(flops, published_peak(self.device, compute.precision), again)

    def facts(self) -> dict[str, Any]:
        """Return what every checkpoint says of the run."""
        recipe = self.recipe.model_dump(mode="json")
        return {
            "dataset": self.recipe.dataset,
            "dataset_id": self.dataset.info.dataset_id,
            "snapshot": self.snapshot,
            "recipe": recipe,
            "places": {
                "model": {
                    **_fields(self.recipe.model),
                    "weights": None if self.start is None else self.start.place,
                },
                "codec": _fields(self.recipe.codec),
                "text": _fields(self.recipe.text),
            },
            "weights": None
            if self.start is None
            else {"reference": self.start.reference, "digest": self.start.digest},
            "encoders": self.encoders(),
            "cache": {
                kind: f"{folder.instance}/{folder.fingerprint}"
                for kind, folder in self.caches[False][0].folders().items()
            },
            "null_text": null_to_json(self.null_text),
            "rounded": self.rounded(),
            "meaning": self.meaning(),
        }

    def encoders(self) -> dict[str, Any]:
        """Return what the encoders are; nothing is loaded for it."""
        return {"codec": dict(self.codec.identity()), "text": dict(self.texts.identity())}

    def rounded(self) -> list[dict[str, Any]]:
        """Return for each stage which of its features are rounded; nothing where none are.

        Where features come from is no matter; that they are rounded, or some of them, is.
        """
        found: list[dict[str, Any]] = []
        for stage, cache in zip(self.stages, self.caches[False], strict=True):
            stored = cache.stored()
            on_miss = None if stage.cache is None else stage.cache.on_miss
            found.append({"stored": stored, "on_miss": on_miss} if stored else {})
        return found

    def meaning(self, encoders: Mapping[str, Any] | None = None) -> str:
        """Return what a checkpoint must share with a run that goes on from it.

        Args:
            encoders: What `encoders` says, where it shall be taken for granted.
        """
        recipe = meaningful(self.recipe.model_dump(mode="json"))
        if first := self.rounded()[0]:
            recipe["data"]["cache"] = first
        told = {
            "recipe": recipe,
            "encoders": self.encoders() if encoders is None else dict(encoders),
            "snapshot": self.snapshot,
            "weights": None if self.start is None else self.start.digest,
        }
        return digest(told)


def _fields(config: Config) -> dict[str, Any]:
    """Return every field as JSON, those that name places too."""
    fields = type(config).model_fields.items()
    places = {name: getattr(config, name) for name, field in fields if field.exclude}
    return {**config.model_dump(mode="json"), **places}


def train(
    recipe: Recipe,
    *,
    resume: bool = False,
    device: torch.device | None = None,
    on_step: Callable[[int], None] = lambda step: None,
    hear: Hear = lambda step, figures: None,
) -> Run:
    """Train as a recipe says, to its last step; a run that is there already is left alone.

    Args:
        recipe: The recipe.
        resume: Go on from the newest complete checkpoint of the output.
        device: Where; null for a GPU if there is one.
        on_step: Called after every step.
        hear: Told figures as they come, on rank 0.

    Raises:
        UsageError: The output holds another run, or checkpoints although `resume` is not asked for;
            the snapshot lacks what the recipe needs; Weights & Biases cannot be had as asked.
        TrainingStoppedError: A loss was no number, or rose out of all proportion.
    """
    run, start = prepare(recipe, resume=resume, device=device)
    carry_out(run, start, on_step=on_step, hear=hear)
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
    if recipe.journal.wandb is not None:
        recipe.journal.wandb.check(recipe.output)
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
    agreement.check_same(
        {"snapshot": run.snapshot, "checkpoint": str(start), "recipe": digest(in_step(recipe))}
    )
    agreement.check_shared(run.checkpoints.store)
    check_encoders(run, start)
    agreement.check_same({"recipe or encoder": run.meaning()})
    seed_generators(recipe.seed, rank())
    model = run.model(is_restored=start is not None)
    objective = OBJECTIVES[recipe.objective.objective](recipe.objective, model)
    is_first = rank() == 0
    journal = _journal(run, model, start) if is_first else Journal(None, 0)

    def told(step: int, figures: Mapping[str, float]) -> None:
        if is_first:
            hear(step, figures)

    loop = Loop(
        objective,
        run.staged_source(),
        recipe.loop,
        dict.fromkeys(objective.roles, recipe.optimizer),
        checkpoints=run.checkpoints,
        journal=journal,
        facts=run.facts(),
        meter=run.meter(model),
        on_figures=told,
    )
    if start is not None:
        loop.restore(start)
    evaluation = Evaluation(run, loop, journal)

    def look(step: int) -> None:
        if step % recipe.evaluation.every == 0 or step == recipe.loop.steps:
            figures = evaluation.at(step)
            journal.write(step, figures)
            journal.flush()
            told(step, figures)
            if is_first:
                write_summary(run.checkpoints.store)

    def after(step: int) -> None:
        on_step(step)
        if step < recipe.loop.steps and agreement.any(stop()):
            if step % recipe.loop.checkpoint_every:  # else it is written already
                loop.save_between()
            raise TrainingInterruptedError(step)

    with _summed_up(run.checkpoints.store if is_first else None):
        loop.run(after, look)


@contextmanager
def _summed_up(store: Store | None) -> Iterator[None]:
    """Write the run's page in the end, on the first rank, whatever happened before."""
    try:
        yield
    except BaseException:
        with suppress(OSError, LongtailError):  # what is wrong already says more
            if store is not None:
                write_summary(store)
        raise
    if store is not None:
        write_summary(store)


def is_finished(run: Run, start: int | None) -> bool:
    """Say whether the step to go on from is the last."""
    return start is not None and start >= run.recipe.loop.steps


def default_device() -> torch.device:
    """Return a GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _journal(run: Run, model: Dit, start: int | None) -> Journal:
    """Return what the first rank writes to; says at once what the run is."""
    store = run.checkpoints.store
    record = write_record(run, model, start)
    boards = make_boards(run.recipe.journal, store, start or 0, run_id=record["id"], facts=record)
    return Journal(store, start or 0, boards)
