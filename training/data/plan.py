"""The plan: which samples make which step, whoever computes it.

A plan is a list of *global* batches, a pure function of the samples, the seed and how batches are
cut; the number of ranks is not in it. In each epoch every image is visited `repeat` times, in the
order of a hash. A bucket's queue is cut into batches of images of one size, similar text lengths
together; what does not fill a batch at an epoch's end comes first in the next one.
"""

import hashlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from curation.config import Config
from training.draws import SampleKey


class BatchConfig(Config):
    """How global batches are cut: one of the two is stated.

    Attributes:
        size: Samples of a batch.
        tokens: Tokens of a batch at most, image and padded text together: batches of small images
            or short texts hold more samples.
        window: Batches' worth of samples among which similar text lengths are brought together. 1
            leaves samples where the hash put them.
    """

    size: int | None = Field(default=None, ge=1)
    tokens: int | None = Field(default=None, ge=1)
    window: int = Field(default=16, ge=1, le=1024)

    @model_validator(mode="after")
    def _one(self) -> "BatchConfig":
        if (self.size is None) == (self.tokens is None):
            message = "state either size, in samples, or tokens"
            raise ValueError(message)
        return self


class Samples(Protocol):
    """What a plan must know of the images, by position."""

    @property
    def image_ids(self) -> NDArray[np.void]:
        """(N,) of 16 bytes."""

    @property
    def repeats(self) -> NDArray[np.int32]:
        """(N,), at least 1."""

    @property
    def buckets(self) -> NDArray[np.int32]:
        """(N,), position of each image's bucket."""

    @property
    def image_tokens(self) -> NDArray[np.int32]:
        """(buckets,) tokens of an image of each bucket."""

    def text_tokens(self, positions: NDArray[np.int64], keys: Sequence[SampleKey]) -> list[int]:
        """Return how many tokens the texts drawn for these visits have."""


@dataclass(frozen=True)
class Visit:
    """One sample of a batch.

    Attributes:
        position: Of the image among the samples.
        key: The visit, which all its draws are keyed by.
    """

    position: int
    key: SampleKey


@dataclass(frozen=True)
class Cursor:
    """Where a plan stands; with it and nothing else the plan goes on as if it had never stopped.

    Attributes:
        epoch: The epoch whose batches are given out.
        given: Batches of that epoch that were given out.
        carried: (position, epoch, repeat) of what earlier epochs left over, as the epoch began.
        stage: The stage that the plan belongs to; see `training.data.stages`.
        of_stage: Batches of that stage that were given out.
    """

    epoch: int = 0
    given: int = 0
    carried: tuple[tuple[int, int, int], ...] = field(default_factory=tuple)
    stage: int = 0
    of_stage: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the cursor for a checkpoint."""
        return {
            "epoch": self.epoch,
            "given": self.given,
            "carried": [*map(list, self.carried)],
            "stage": self.stage,
            "of_stage": self.of_stage,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Cursor":
        """Read what `to_json` wrote."""
        carried = tuple((int(p), int(e), int(r)) for p, e, r in value["carried"])
        names = ("epoch", "given", "stage", "of_stage")
        return cls(carried=carried, **{name: int(value[name]) for name in names})


class Plan:
    """Gives out global batches for ever.

    Args:
        samples: The images; at least one.
        config: How batches are cut.
        seed: Of the order.
        cursor: Where to go on.

    Attributes:
        cursor: Where the plan stands after the batch that was given out last.
    """

    def __init__(
        self, samples: Samples, config: BatchConfig, seed: int, cursor: Cursor | None = None
    ) -> None:
        self._samples = samples
        self._config = config
        self._seed = seed
        self.cursor = cursor or Cursor()
        assert len(samples.image_ids), "a plan needs images"

    def __iter__(self) -> Iterator[list[Visit]]:
        """Yield each global batch after the cursor."""
        while True:
            begun = self.cursor
            batches, left = self._epoch(begun)
            for number in range(begun.given, len(batches)):
                self.cursor = replace(begun, given=number + 1)
                yield batches[number]
            carried = tuple((v.position, v.key.epoch, v.key.repeat) for v in left)
            self.cursor = replace(begun, epoch=begun.epoch + 1, given=0, carried=carried)

    def _epoch(self, begun: Cursor) -> tuple[list[list[Visit]], list[Visit]]:
        """Return an epoch's batches, and what is left for the next one."""
        samples = self._samples
        queues: dict[int, list[Visit]] = {}
        for position, epoch, repeat in begun.carried:
            self._queue(queues, position, epoch, repeat)
        repeats = samples.repeats
        visits = np.repeat(np.arange(len(repeats)), repeats)
        starts = np.cumsum(repeats) - repeats
        numbers = np.arange(len(visits)) - np.repeat(starts, repeats)
        order = np.argsort(self._hashes(begun.epoch, visits, numbers), kind="stable")
        for place in order.tolist():
            self._queue(queues, int(visits[place]), begun.epoch, int(numbers[place]))
        batches: list[list[Visit]] = []
        left: list[Visit] = []
        for bucket in sorted(queues):
            full, rest = self._cut(queues[bucket], int(samples.image_tokens[bucket]))
            batches += full
            left += rest
        batches.sort(key=lambda batch: self._hash(b"batch", begun.epoch, batch[0].key))
        return batches, left

    def _queue(
        self, queues: dict[int, list[Visit]], position: int, epoch: int, repeat: int
    ) -> None:
        key = SampleKey(epoch, self._samples.image_ids[position].tobytes(), repeat)
        bucket = int(self._samples.buckets[position])
        queues.setdefault(bucket, []).append(Visit(position, key))

    def _cut(self, queue: list[Visit], image_tokens: int) -> tuple[list[list[Visit]], list[Visit]]:
        """Cut one bucket's queue, and return what fills no batch."""
        positions = np.array([visit.position for visit in queue], np.int64)
        lengths = self._samples.text_tokens(positions, [visit.key for visit in queue])
        typical = image_tokens + (sum(lengths) // len(lengths) if lengths else 0)
        size = self._config.size or max(1, (self._config.tokens or 0) // typical)
        window = size * self._config.window
        batches: list[list[Visit]] = []
        batch: list[Visit] = []
        longest = 0
        for start in range(0, len(queue), window):
            places = sorted(
                range(start, min(start + window, len(queue))), key=lambda i: (lengths[i], i)
            )
            for place in places:
                if batch and self._is_full(len(batch), image_tokens + max(longest, lengths[place])):
                    batches.append(batch)
                    batch, longest = [], 0
                batch.append(queue[place])
                longest = max(longest, lengths[place])
        if self._config.size is not None and len(batch) == self._config.size:
            batches.append(batch)
            batch = []
        return batches, batch

    def _is_full(self, size: int, tokens: int) -> bool:
        """Say whether a batch of `size` takes no further sample, which would be so long."""
        if self._config.size is not None:
            return size >= self._config.size
        assert self._config.tokens is not None
        return (size + 1) * tokens > self._config.tokens

    def _hashes(
        self, epoch: int, positions: NDArray[np.int64], numbers: NDArray[np.int64]
    ) -> NDArray[np.uint64]:
        ids = self._samples.image_ids
        data = b"".join(
            self._hash(b"order", epoch, SampleKey(epoch, ids[p].tobytes(), n))
            for p, n in zip(positions.tolist(), numbers.tolist(), strict=True)
        )
        return np.frombuffer(data, ">u8")

    def _hash(self, purpose: bytes, epoch: int, key: SampleKey) -> bytes:
        content = struct.pack("<qqq", epoch, key.epoch, key.repeat) + key.image_id
        named = struct.pack("<q", self._seed) + purpose
        return hashlib.blake2b(content, digest_size=8, key=named).digest()


def micro_parts(
    batch: Sequence[Visit], rank: int, world_size: int, micro_size: int
) -> list[list[Visit]]:
    """Return a rank's micro-batches of a global batch: as many as each other rank's, empty or not.

    A rank of which the last ones have nothing left must still compute something, or ranks that wait
    for its gradients wait for ever.
    """
    count = num_micro_batches(len(batch), world_size, micro_size)
    own = share(batch, rank, world_size)
    size = -(-len(own) // count)
    return [own[number * size : (number + 1) * size] for number in range(count)]


def share(batch: Sequence[Visit], rank: int, world_size: int) -> list[Visit]:
    """Return a rank's part of a global batch: disjoint, together everything, even to within one."""
    return list(batch[rank::world_size])


def num_micro_batches(batch_size: int, world_size: int, micro_size: int) -> int:
    """Return the micro-batches of every rank for a global batch, the same on all of them."""
    largest = -(-batch_size // world_size)
    return -(-largest // micro_size)
