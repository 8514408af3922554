"""The steps that look at all rows at once: split, duplicates, sampling."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.config import Config
from curation.errors import ConservationError
from curation.snapshot import reasons as why
from curation.snapshot.collect import Rows
from curation.snapshot.config import SnapshotConfig
from curation.snapshot.sampler import (
    SCORE_SCALE,
    Candidates,
    CategoryCount,
    Sample,
    Sampler,
    count_categories,
)
from curation.snapshot.split import NO_SPLIT, SPLITS, split_groups


@dataclass(frozen=True)
class Decisions:
    """What was decided about each of `rows`, whose reasons are complete now.

    Attributes:
        rows: The rows.
        kept: Whether the row is in.
        repeat: int32; 0 where it is out.
        weight: float64; 0 where it is out.
        split: int8, position in `SPLITS` or `NO_SPLIT`.
        tree: Category counts before and after sampling.
        num_missing: Draws that the candidates could not give.
        num_moved: Images that the previous snapshot kept in another split.
    """

    rows: Rows
    kept: NDArray[np.bool_]
    repeat: NDArray[np.int32]
    weight: NDArray[np.float64]
    split: NDArray[np.int8]
    tree: tuple[CategoryCount, ...]
    num_missing: int
    num_moved: int


@dataclass(frozen=True)
class PreviousSplits:
    """The splits of the rows that another snapshot of the dataset kept.

    Attributes:
        shard: int32, (M,); with `row` in rising order.
        row: int32, (M,).
        split: int8, (M,), position in `SPLITS`.
    """

    shard: NDArray[np.int32]
    row: NDArray[np.int32]
    split: NDArray[np.int8]


def decide(
    rows: Rows,
    config: SnapshotConfig,
    sampler: Sampler | None,
    sample_config: Config | None,
    previous: PreviousSplits | None,
    *,
    hold_split: bool,
) -> Decisions:
    """Complete the reasons of `rows` and draw the sample.

    The split comes before duplicates and sampling: it needs groups only, and rows held back for it
    leave their places to others.
    """
    _check_unique(rows)
    group = _number(_words(rows.group))
    # Rows known from a list only have no group; each is alone.
    group[~rows.has_id] = len(rows) + np.arange(int((~rows.has_id).sum()))
    split = split_groups(group, rows.content, rows.current, config.split)
    moved = _moved(rows, split, previous)
    if hold_split:
        rows.reasons.add(why.SPLIT_MOVED, moved)
    rows.reasons.add(why.DUPLICATE, _duplicates(rows, group))
    survivors = np.flatnonzero(rows.reasons.none())
    candidates = _candidates(rows, survivors)
    if sampler is None or sample_config is None:
        once = np.ones(len(survivors), np.int32)
        sample = Sample(once, once.astype(np.float64), count_categories(candidates, once))
    else:
        sample = sampler.draw(sample_config, candidates)
    repeat = np.zeros(len(rows), np.int32)
    repeat[survivors] = sample.repeat
    weight = np.zeros(len(rows), np.float64)
    weight[survivors] = sample.weight
    unsampled = np.zeros(len(rows), bool)
    unsampled[survivors] = sample.repeat == 0
    rows.reasons.add(why.UNSAMPLED, unsampled)
    kept = rows.reasons.none()
    return Decisions(
        rows, kept, repeat, weight, split, sample.tree, sample.num_missing, int(moved.sum())
    )


def _check_unique(rows: Rows) -> None:
    words = _words(rows.image_id[rows.current & rows.has_id])
    words = words[np.lexsort((words[:, 1], words[:, 0]))]
    same = (words[1:] == words[:-1]).all(axis=1)
    if same.any():
        image_id = words[1:][same][0].astype(">u8").tobytes().hex()
        message = f"image_id {image_id} stands on {int(same.sum()) + 1} current rows, expected one"
        raise ConservationError(message)


def _words(values: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return 16-byte values as two numbers each, in byte order."""
    return np.ascontiguousarray(values).view(">u8").astype(np.uint64)


def _number(words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Give equal rows of `words` equal numbers."""
    order = np.lexsort((words[:, 1], words[:, 0]))
    starts = np.zeros(len(order), bool)
    starts[1:] = (words[order[1:]] != words[order[:-1]]).any(axis=1)
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.cumsum(starts)
    return numbers


def _moved(
    rows: Rows, split: NDArray[np.int8], previous: PreviousSplits | None
) -> NDArray[np.bool_]:
    """Say which rows the previous snapshot kept in a split that is not theirs now."""
    moved = np.zeros(len(rows), bool)
    if previous is None or not len(previous.shard):
        return moved
    keys = _places(rows.shard, rows.row)
    known = _places(previous.shard, previous.row)
    at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    found = (known[at] == keys) & (split != NO_SPLIT)
    moved[found] = previous.split[at[found]] != split[found]
    return moved


def _places(shard: NDArray[np.int32], row: NDArray[np.int32]) -> NDArray[np.int64]:
    return (shard.astype(np.int64) << 32) | row


def _duplicates(rows: Rows, group: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say which survivors leave their place to the representative of their group."""
    survivors = np.flatnonzero(rows.reasons.none())
    words = _words(rows.image_id[survivors])
    # The last key counts most. Orders fall (larger is better), ids rise; ~x is x falling.
    falling = [~rows.order[survivors, place] for place in range(rows.order.shape[1])]
    keys = (words[:, 1], words[:, 0], *reversed(falling), group[survivors])
    order = survivors[np.lexsort(keys)]
    duplicate = np.zeros(len(rows), bool)
    duplicate[order[1:]] = group[order[1:]] == group[order[:-1]]
    return duplicate


def _candidates(rows: Rows, survivors: NDArray[np.int64]) -> Candidates:
    facts = rows.facts.take(pa.array(survivors))
    category = facts["category_path"].combine_chunks()
    paths: list[Any] = category.dictionary.to_pylist()
    codes = pc.fill_null(category.indices, -1).to_numpy()
    score = facts["aesthetic_score"]
    has_score = np.asarray(pc.is_valid(score).to_numpy(), bool)
    values = np.asarray(pc.fill_null(score, 0.0).to_numpy(), np.float64)
    return Candidates(
        rows.image_id[survivors],
        np.asarray(codes, np.int32),
        tuple(paths),
        np.rint(values * SCORE_SCALE).astype(np.int64),
        has_score,
    )


def split_names(split: NDArray[np.int8]) -> list[str | None]:
    """Return the names of splits, null for `NO_SPLIT`."""
    names = [*SPLITS, None]  # NO_SPLIT is the last
    return [names[place] for place in split]
