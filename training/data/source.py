"""Batches of a snapshot, for one rank."""

import itertools
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from training.data.batch import Batch
from training.data.cache import Cache, CachedTexts
from training.data.captions import CaptionConfig, CaptionDraw
from training.data.features import Features
from training.data.images import ImageReader
from training.data.plan import BatchConfig, Cursor, Plan, Visit, micro_parts, share
from training.data.table import TrainingTable
from training.draws import SampleKey, draw_bits, draw_uniform
from training.encoders.latents import LatentCodec
from training.encoders.texts import TextEncoder, pad


@dataclass(frozen=True)
class GlobalBatch:
    """A rank's part of a global batch.

    Attributes:
        micro: Its micro-batches: as many as every other rank has.
        num_samples: Samples of the global batch.
        cursor: Where the plan stands behind it.
    """

    micro: tuple[Batch, ...]
    num_samples: int
    cursor: Cursor


class BatchSource(Protocol):
    """Gives out global batches for ever; `Plan` says which."""

    def batches(self, cursor: Cursor) -> Iterator[GlobalBatch]:
        """Yield this rank's part of every global batch after the cursor."""
        ...


class SnapshotSamples:
    """What a plan must know of a training table; see `training.data.plan.Samples`."""

    def __init__(
        self,
        table: TrainingTable,
        tokens: Sequence[int],
        draw: CaptionDraw,
        texts: TextEncoder,
        cached: CachedTexts | None = None,
    ) -> None:
        self.image_ids = table.image_ids
        self.repeats = table.repeats
        self.buckets = table.aspect
        self.image_tokens = np.array(tokens, np.int32)
        self._usable = [draw.usable(captions or ()) for captions in table.captions.to_pylist()]
        self._draw = draw
        self._texts = texts
        self._cached = cached
        self._lengths: dict[str, int] = {}

    def text(self, position: int, key: SampleKey) -> str:
        """Return the text that a visit is shown."""
        return self._draw.draw(self._usable[position], key)

    def text_tokens(self, positions: NDArray[np.int64], keys: Sequence[SampleKey]) -> list[int]:
        """Return the tokens of the texts drawn for these visits."""
        drawn = [self.text(int(p), key) for p, key in zip(positions, keys, strict=True)]
        found: list[int | None] = [None] * len(drawn)
        if self._cached is not None:
            found = self._cached.lengths(positions.tolist(), drawn)
        counted = [text for text, length in zip(drawn, found, strict=True) if length is None]
        if new := [text for text in dict.fromkeys(counted) if text not in self._lengths]:
            self._lengths.update(zip(new, self._texts.lengths(new), strict=True))
        return [
            self._lengths[text] if length is None else length
            for text, length in zip(drawn, found, strict=True)
        ]


class SnapshotSource:
    """Reads a snapshot: the only source that the command line takes.

    Args:
        table: The images.
        codec: Makes latents.
        texts: Makes features.
        images: Reads pixels in the sizes of the buckets.
        batch: How global batches are cut.
        captions: Which captions are drawn.
        seed: Of the order and of every draw.
        image_tokens: For each bucket the tokens of an image.
        device: Where latents and features are computed.
        domain_of: Category path -> domain.
        rank: This process.
        world_size: How many there are.
        micro_size: Samples of a micro-batch, at most.
        flip: Whether visits are mirrored, half of them.
        use_weights: Whether the snapshot's weights scale the loss.
        cache: What `encode` made of the images; what it has not is computed.
    """

    def __init__(
        self,
        table: TrainingTable,
        codec: LatentCodec,
        texts: TextEncoder,
        images: ImageReader,
        *,
        batch: BatchConfig,
        captions: CaptionConfig,
        seed: int,
        image_tokens: Sequence[int],
        device: torch.device,
        domain_of: Callable[[str], str] = lambda path: "default",
        rank: int = 0,
        world_size: int = 1,
        micro_size: int = 64,
        flip: bool = False,
        use_weights: bool = False,
        cache: Cache | None = None,
    ) -> None:
        self._table = table
        self._batch = batch
        self._seed = seed
        self._device = device
        self._domain_of = domain_of
        self._rank, self._world_size, self._micro_size = rank, world_size, micro_size
        self._flip = flip
        self._use_weights = use_weights
        cache = cache or Cache(None, None)
        self._features = Features(codec, texts, images, cache, device)
        draw = CaptionDraw(captions, seed)
        self._samples = SnapshotSamples(table, image_tokens, draw, texts, cache.texts)
        self._null = self._features.null_TD

    def batches(self, cursor: Cursor) -> Iterator[GlobalBatch]:
        """Yield this rank's part of every global batch after the cursor."""
        plan = Plan(self._samples, self._batch, self._seed, cursor)
        for visits in plan:
            parts = micro_parts(visits, self._rank, self._world_size, self._micro_size)
            micro = tuple(self._make(part, visits) for part in parts)
            yield GlobalBatch(micro, len(visits), plan.cursor)

    def once(self, limit: int) -> Iterator[Batch]:
        """Yield this rank's part of `limit` images, each of them once: for looking, not learning.

        They are those with the smallest hashes, the same at every call and for every number of
        ranks; every rank gets as many batches as the others.
        """
        table = self._table
        ids = [image_id.tobytes() for image_id in table.image_ids]
        keys = [SampleKey(0, image_id, 0) for image_id in ids]
        order = sorted(range(len(keys)), key=lambda n: draw_bits(self._seed, keys[n], "held out"))
        chosen = sorted(order[:limit], key=lambda n: (int(table.aspect[n]), n))
        size = self._micro_size * self._world_size
        for _, mine in itertools.groupby(chosen, key=lambda n: int(table.aspect[n])):
            visits = [Visit(position, keys[position]) for position in mine]
            for start in range(0, len(visits), size):
                whole = visits[start : start + size]
                yield self._make(share(whole, self._rank, self._world_size), whole)

    def _make(self, part: Sequence[Visit], whole: Sequence[Visit]) -> Batch:
        """Make a micro-batch; an empty one is a sample of the batch that counts nothing."""
        is_empty = not part
        visits = list(part) or [whole[0]]
        positions = [visit.position for visit in visits]
        mirrored = [
            self._flip and draw_uniform(self._seed, visit.key, "flip") < 0.5 for visit in visits
        ]
        texts = [self._samples.text(visit.position, visit.key) for visit in visits]
        text_BTD, text_lens_B = pad(self._features.texts(positions, texts))
        table = self._table
        weights = [
            0.0
            if is_empty or table.forbidden[visit.position]
            else float(table.weights[visit.position])
            if self._use_weights
            else 1.0
            for visit in visits
        ]
        return Batch(
            self._features.latents(positions, mirrored),
            text_BTD,
            text_lens_B,
            self._null,
            tuple(visit.key for visit in visits),
            tuple(self._domain_of(table.categories[visit.position]) for visit in visits),
            torch.tensor(weights, device=self._device),
            len(whole),
            self._seed,
        )


class Prefetch:
    """Makes batches ahead in a thread; closing it ends the thread.

    Args:
        source: Makes them.
        cursor: From where.
        ahead: Batches that wait, at most.
    """

    def __init__(self, source: BatchSource, cursor: Cursor, ahead: int = 2) -> None:
        self._queue: queue.Queue[GlobalBatch | BaseException] = queue.Queue(ahead)
        self._stopped = threading.Event()
        self._batches = source.batches(cursor)
        self._thread = threading.Thread(target=self._run, name="batches", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[GlobalBatch]:
        while True:
            found = self._queue.get()
            if isinstance(found, BaseException):
                raise found
            yield found

    def close(self) -> None:
        """End the thread."""
        self._stopped.set()
        while self._thread.is_alive():
            try:
                self._queue.get_nowait()
            except queue.Empty:
                self._thread.join(0.05)

    def _run(self) -> None:
        try:
            for found in self._batches:
                self._put(found)
                if self._stopped.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 (raised again in the thread that trains)
            self._put(error)

    def _put(self, found: GlobalBatch | BaseException) -> None:
        while not self._stopped.is_set():
            try:
                self._queue.put(found, timeout=0.1)
            except queue.Full:
                continue
            return


def domain_of(globs: Mapping[str, str]) -> Callable[[str], str]:
    """Return what says to which domain a category path belongs.

    Args:
        globs: Glob over category paths -> domain, the first that matches counts; `default` is the
            domain of all others.
    """
    from fnmatch import fnmatchcase

    def find(path: str) -> str:
        for pattern, domain in globs.items():
            if pattern != "default" and fnmatchcase(path, pattern):
                return domain
        return globs.get("default", "default")

    return find
