"""Batches of a snapshot's preferences, for one rank."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from curation.dataset import Dataset
from curation.errors import SnapshotError
from curation.snapshot.read import read_manifest, read_parts
from curation.snapshot.split import SPLITS, VALIDATION
from training.data.images import ImageReader
from training.data.pairs import PairBatch
from training.data.plan import BatchConfig, Cursor, Plan, Visit, micro_parts, share
from training.data.source import GlobalBatch
from training.data.table import TrainingTable, read_training_table
from training.draws import SampleKey, draw_bits
from training.encoders.latents import LatentCodec
from training.encoders.texts import TextEncoder, pad

_ARRAYS = ("shard", "row", "image_ids", "repeats", "weights", "aspect", "forbidden")
_COLUMNS = ("pair_id", "prompt", "winner_image_id", "loser_image_id", "kept", "split")


@dataclass(frozen=True)
class PairTable:
    """The kept pairs of one split of a snapshot, by pair_id.

    Attributes:
        split: `train` or `validation`.
        images: Every image of these pairs, once. Those of held-out pairs may be of either split:
            it is the pair that is held out.
        pair_ids: (N,) of 16 bytes.
        prompts: N texts; empty where one was taken out since.
        winners: (N,) positions among the images.
        losers: (N,) likewise.
        aspect: (N,) position of the pair's size, as `TrainingTable.aspect`.
        forbidden: (N,) whether either image was forgotten since, or the prompt taken out.
    """

    split: str
    images: TrainingTable
    pair_ids: NDArray[np.void]
    prompts: tuple[str, ...]
    winners: NDArray[np.int64]
    losers: NDArray[np.int64]
    aspect: NDArray[np.int32]
    forbidden: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def is_held_out(self) -> bool:
        """Whether these are the pairs that nothing is learnt from."""
        return self.split == VALIDATION


def read_pair_table(dataset: Dataset, snapshot: str, split: str) -> PairTable:
    """Read the kept pairs of one split, and of their images what training must know; no bytes.

    Args:
        dataset: The dataset.
        snapshot: The snapshot's whole id.
        split: `train` or `validation`.

    Raises:
        SnapshotError: The snapshot has no preferences, no pair to train on, or pairs of images that
            it does not keep.
    """
    manifest = read_manifest(dataset, snapshot)
    if manifest.preferences is None:
        message = (
            f"snapshot {snapshot}: has no preferences; make one with `longtail snapshot create "
            "PIPELINE --preferences TABLE`"
        )
        raise SnapshotError(message)
    if split != VALIDATION and not manifest.preferences.splits[split]:
        why = ", ".join(f"{n} {reason}" for reason, n in manifest.preferences.excluded.items())
        message = (
            f"snapshot {snapshot}: none of its {manifest.preferences.pairs} pairs is in the split "
            f"{split!r}; out are {why or 'none'}"
        )
        raise SnapshotError(message)
    parts = [
        part.filter(pc.and_(part["kept"], pc.equal(part["split"], split)))
        for part in read_parts(dataset, manifest, "preferences", _COLUMNS)
    ]
    pairs = pa.concat_tables(parts)
    sides = [pairs[name].combine_chunks() for name in ("winner_image_id", "loser_image_id")]
    images = _read_images(dataset, snapshot, pc.unique(pa.concat_arrays(sides)))
    known = pa.array([image_id.tobytes() for image_id in images.image_ids], pa.binary(16))
    places = [pc.index_in(side, value_set=known) for side in sides]
    if missing := sum(place.null_count for place in places):
        message = (
            f"snapshot {snapshot}: {missing} images of kept pairs are not among its images; see "
            "`longtail snapshot verify`"
        )
        raise SnapshotError(message)
    winners, losers = (np.asarray(place.to_numpy(), np.int64) for place in places)
    prompts = pairs["prompt"].to_pylist()
    taken_out = np.array([not prompt for prompt in prompts], bool)
    return PairTable(
        split,
        images,
        np.frombuffer(b"".join(pairs["pair_id"].to_pylist()), "V16"),
        tuple(prompt or "" for prompt in prompts),
        winners,
        losers,
        images.aspect[winners],
        images.forbidden[winners] | images.forbidden[losers] | taken_out,
    )


def _read_images(dataset: Dataset, snapshot: str, wanted: pa.Array) -> TrainingTable:
    """Return the wanted images of both splits."""
    found = [_choose(read_training_table(dataset, snapshot, split), wanted) for split in SPLITS]
    first, second = found
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(table, name) for table in found]) for name in _ARRAYS
    }
    return replace(
        first,
        split="",
        categories=(*first.categories, *second.categories),
        captions=pa.chunked_array(
            [*first.captions.chunks, *second.captions.chunks], first.captions.type
        ),
        **joined,
    )


def _choose(table: TrainingTable, wanted: pa.Array) -> TrainingTable:
    ids = pa.array([image_id.tobytes() for image_id in table.image_ids], pa.binary(16))
    here = np.flatnonzero(np.asarray(pc.is_in(ids, value_set=wanted)))
    chosen: dict[str, Any] = {name: getattr(table, name)[here] for name in _ARRAYS}
    return replace(
        table,
        categories=tuple(table.categories[place] for place in here),
        captions=table.captions.take(pa.array(here)),
        **chosen,
    )


class PairErrors(Protocol):
    """What a reference model made of pairs, computed before."""

    def of(self, keys: Sequence[SampleKey], numel: int) -> Tensor:
        """Return (B, 2) errors of winners and losers, fp32, for visits of pairs.

        Args:
            keys: The visits.
            numel: Elements of a latent.
        """
        ...


class PairSamples:
    """What a plan must know of pairs; see `training.data.plan.Samples`.

    A pair costs what two images and their texts do.
    """

    def __init__(self, table: PairTable, tokens: Sequence[int], texts: TextEncoder) -> None:
        self.image_ids = table.pair_ids
        self.repeats = np.ones(len(table), np.int32)
        self.buckets = table.aspect
        self.image_tokens = 2 * np.array(tokens, np.int32)
        self._prompts = table.prompts
        self._texts = texts
        self._lengths: dict[str, int] = {}

    def text_tokens(self, positions: NDArray[np.int64], keys: Sequence[SampleKey]) -> list[int]:
        """Return twice the tokens of the pairs' prompts."""
        shown = [self._prompts[position] for position in positions.tolist()]
        new = [text for text in dict.fromkeys(shown) if text not in self._lengths]
        self._lengths.update(zip(new, self._texts.lengths(new), strict=True))
        return [2 * self._lengths[text] for text in shown]


class PairSource:
    """Reads a snapshot's preferences: each pair once an epoch, with its prompt, never mirrored.

    Every draw is keyed by (seed, epoch, pair_id), and nothing else is drawn, so what a reference
    model makes of a visit can be computed before. A pair of which an image was forgotten keeps its
    place and counts nothing.

    Args:
        table: The pairs.
        codec: Makes latents.
        texts: Makes features.
        images: Reads pixels of `table.images` in the sizes of the buckets.
        batch: How global batches are cut, in pairs, or in the tokens of both images and texts.
        seed: Of the order and of every draw.
        image_tokens: For each bucket the tokens of one image.
        device: Where latents and features are computed.
        domain_of: Category path of the winner -> domain.
        rank: This process.
        world_size: How many there are.
        micro_size: Pairs of a micro-batch, at most.
        reference: What gives errors of the reference model; null where they are to be computed.
    """

    def __init__(
        self,
        table: PairTable,
        codec: LatentCodec,
        texts: TextEncoder,
        images: ImageReader,
        *,
        batch: BatchConfig,
        seed: int,
        image_tokens: Sequence[int],
        device: torch.device,
        domain_of: Callable[[str], str] = lambda path: "default",
        rank: int = 0,
        world_size: int = 1,
        micro_size: int = 64,
        reference: PairErrors | None = None,
    ) -> None:
        self.table = table
        self.seed = seed
        self._codec = codec
        self._texts = texts
        self._images = images
        self._batch = batch
        self._device = device
        self._domain_of = domain_of
        self._rank, self._world_size, self._micro_size = rank, world_size, micro_size
        self._reference = reference
        self._samples = PairSamples(table, image_tokens, texts)
        self._null = texts.encode([""], device)[0]

    def batches(self, cursor: Cursor) -> Iterator[GlobalBatch]:
        """Yield this rank's part of every global batch after the cursor."""
        plan = Plan(self._samples, self._batch, self.seed, cursor)
        for visits in plan:
            parts = micro_parts(visits, self._rank, self._world_size, self._micro_size)
            micro = tuple(self._make(part, visits) for part in parts)
            yield GlobalBatch(micro, len(visits), plan.cursor)

    def once(self, limit: int) -> Iterator[PairBatch]:
        """Yield this rank's part of `limit` pairs, each of them once: for looking, not learning.

        They are those with the smallest hashes, the same at every call and for every number of
        ranks; every rank gets as many batches as the others.
        """
        keys = self._keys(0)
        order = sorted(range(len(keys)), key=lambda n: draw_bits(self.seed, keys[n], "held out"))
        return self._walk(order[:limit], keys)

    def epoch(self, number: int) -> Iterator[PairBatch]:
        """Yield this rank's part of all pairs, as the visits of an epoch, in an order of no use.

        Every rank gets as many batches as the others.
        """
        keys = self._keys(number)
        return self._walk(range(len(keys)), keys)

    def _keys(self, epoch: int) -> list[SampleKey]:
        return [SampleKey(epoch, pair_id.tobytes(), 0) for pair_id in self.table.pair_ids]

    def _walk(self, chosen: Sequence[int], keys: Sequence[SampleKey]) -> Iterator[PairBatch]:
        aspect = self.table.aspect
        size = self._micro_size * self._world_size
        chosen = sorted(chosen, key=lambda n: (int(aspect[n]), n))
        for _, mine in itertools.groupby(chosen, key=lambda n: int(aspect[n])):
            visits = [Visit(position, keys[position]) for position in mine]
            for start in range(0, len(visits), size):
                whole = visits[start : start + size]
                yield self._make(share(whole, self._rank, self._world_size), whole)

    def _make(self, part: Sequence[Visit], whole: Sequence[Visit]) -> PairBatch:
        """Make a micro-batch; an empty one is a pair of the batch that counts nothing."""
        is_empty = not part
        visits = list(part) or [whole[0]]
        table = self.table
        positions = [visit.position for visit in visits]
        counts = [not (is_empty or table.forbidden[position]) for position in positions]
        latent_BCHW, loser_BCHW = self._codec.encode(self._pixels(positions)).chunk(2)
        shown = ["" if table.forbidden[n] else table.prompts[n] for n in positions]
        text_BTD, text_lens_B = pad(self._texts.encode(shown, self._device))
        keys = tuple(visit.key for visit in visits)
        return PairBatch(
            latent_BCHW,
            text_BTD,
            text_lens_B,
            self._null,
            keys,
            tuple(self._domain_of(table.images.categories[table.winners[n]]) for n in positions),
            torch.tensor([float(count) for count in counts], device=self._device),
            len(whole),
            self.seed,
            loser_BCHW=loser_BCHW,
            reference_B2=self._known(keys, counts, latent_BCHW),
        )

    def _pixels(self, positions: Sequence[int]) -> Tensor:
        """Return the winners of pairs and then their losers, (2 B, height, width, 3)."""
        sides = (self.table.winners, self.table.losers)
        pixels = self._images.read([int(side[n]) for side in sides for n in positions])
        return torch.from_numpy(np.stack(pixels)).to(self._device)

    def _known(
        self, keys: Sequence[SampleKey], counts: Sequence[bool], latent_BCHW: Tensor
    ) -> Tensor | None:
        """Return the reference's errors, 0 for pairs that count nothing."""
        if self._reference is None:
            return None
        wanted = [key for key, count in zip(keys, counts, strict=True) if count]
        error_B2 = torch.zeros(len(keys), 2)
        error_B2[torch.tensor(counts)] = self._reference.of(wanted, latent_BCHW[0].numel())
        return error_B2.to(self._device)
