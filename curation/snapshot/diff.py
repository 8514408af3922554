"""What changed between two snapshots of a dataset."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.dataset import Dataset
from curation.snapshot.manifest import SnapshotManifest
from curation.snapshot.read import find_snapshot, read_manifest, read_parts, snapshot_path
from curation.tables import read_table
from schemas.columns import IMAGE_ID, ROW, SHARD
from schemas.decisions import DECISIONS

KEPT = "kept"
"""Stands for the reason of a kept row."""

ABSENT = "absent"
"""Stands for the reason of a row that one of the two does not know."""

CHANGED_ROWS = pa.schema(
    [SHARD, ROW, IMAGE_ID, pa.field("before", pa.string()), pa.field("after", pa.string())]
)

_COLUMNS = ["shard", "row", "image_id", "kept", "reason", "repeat", "split"]


@dataclass(frozen=True)
class PairDiff:
    """What changed among the pairs of preferred images that two snapshots keep.

    Attributes:
        num_gained: Pairs that only the second keeps, by their ids.
        num_lost: Pairs that only the first keeps.
        num_split_changed: Pairs that both keep, in different splits.
    """

    num_gained: int
    num_lost: int
    num_split_changed: int


@dataclass(frozen=True)
class SnapshotDiff:
    """What changed from one snapshot to another.

    Attributes:
        before: Id of the first.
        after: Id of the second.
        num_gained: Rows that only the second keeps.
        num_lost: Rows that only the first keeps.
        num_reason_changed: Rows that neither keeps, for different first reasons.
        num_repeat_changed: Rows that both keep, with different repeats.
        num_split_changed: Rows that both keep, in different splits.
        changes: (reason before, reason after) -> rows, `kept` and `absent` among them; without
            pairs of equal reasons.
        rows: The rows behind `changes`, as `CHANGED_ROWS`; null unless asked for.
        pairs: What changed among preferences; null where neither has any.
    """

    before: str
    after: str
    num_gained: int
    num_lost: int
    num_reason_changed: int
    num_repeat_changed: int
    num_split_changed: int
    changes: dict[tuple[str, str], int]
    rows: pa.Table | None = None
    pairs: PairDiff | None = None


def diff_snapshots(
    dataset: Dataset, before: str, after: str, *, with_rows: bool = False
) -> SnapshotDiff:
    """Compare two snapshots row by row; a group of 1,000 shards is in memory at a time.

    Args:
        dataset: The dataset that both are of.
        before: Id of the first, or the beginning of it.
        after: Id of the second, or the beginning of it.
        with_rows: Whether the changed rows are wanted too.

    Raises:
        SnapshotError: One of them does not exist.
    """
    first = read_manifest(dataset, find_snapshot(dataset, before))
    second = read_manifest(dataset, find_snapshot(dataset, after))
    changes: Counter[tuple[str, str]] = Counter()
    repeats = splits = 0
    rows = [CHANGED_ROWS.empty_table()]
    for old, new in _aligned(dataset, first, second):
        was, now = _states(old), _states(new)
        differs = pc.not_equal(was, now)
        changed = _changed_rows(old, new, was, now).filter(differs)
        pairs = changed.group_by(["before", "after"]).aggregate([([], "count_all")])
        for pair in pairs.to_pylist():
            changes[pair["before"], pair["after"]] += pair["count_all"]
        both = pc.and_(pc.equal(was, KEPT), pc.equal(now, KEPT))
        repeats += _count(pc.and_(both, pc.not_equal(old["repeat"], new["repeat"])))
        splits += _count(pc.and_(both, pc.not_equal(old["split"], new["split"])))
        if with_rows:
            rows.append(changed)
    gained = sum(count for (_, now), count in changes.items() if now == KEPT)
    lost = sum(count for (was, _), count in changes.items() if was == KEPT)
    return SnapshotDiff(
        first.id,
        second.id,
        gained,
        lost,
        changes.total() - gained - lost,
        repeats,
        splits,
        dict(sorted(changes.items())),
        pa.concat_tables(rows) if with_rows else None,
        _diff_pairs(dataset, first, second),
    )


def _diff_pairs(
    dataset: Dataset, first: SnapshotManifest, second: SnapshotManifest
) -> PairDiff | None:
    if first.preferences is None and second.preferences is None:
        return None
    old, new = (_kept_pairs(dataset, manifest) for manifest in (first, second))
    moved = sum(1 for pair_id in old.keys() & new.keys() if old[pair_id] != new[pair_id])
    return PairDiff(len(new.keys() - old.keys()), len(old.keys() - new.keys()), moved)


def _kept_pairs(dataset: Dataset, manifest: SnapshotManifest) -> dict[bytes, str]:
    """Return pair_id -> split."""
    found: dict[bytes, str] = {}
    for part in read_parts(dataset, manifest, "preferences", ["pair_id", "kept", "split"]):
        part = part.filter(part["kept"])
        found.update(zip(part["pair_id"].to_pylist(), part["split"].to_pylist(), strict=True))
    return found


def moved_images(dataset: Dataset, snapshot: str, previous: str) -> pa.Table:
    """List the images that `previous` kept in another split than `snapshot` gives them.

    Returns:
        `CHANGED_ROWS`, whose `before` and `after` are splits.

    Raises:
        SnapshotError: One of them does not exist.
    """
    first = read_manifest(dataset, find_snapshot(dataset, previous))
    second = read_manifest(dataset, find_snapshot(dataset, snapshot))
    found = [CHANGED_ROWS.empty_table()]
    for old, new in _aligned(dataset, first, second):
        moved = pc.and_(old["kept"], pc.not_equal(old["split"], new["split"]))
        rows = _changed_rows(old, new, old["split"], new["split"])
        found.append(rows.filter(pc.fill_null(moved, False)))
    return pa.concat_tables(found)


def _aligned(
    dataset: Dataset, first: SnapshotManifest, second: SnapshotManifest
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Yield the decisions of both, a group of shards at a time, for the same rows in order.

    A row that one does not know has nulls there. Files of a name hold the same group of shards.
    """
    names = {name for manifest in (first, second) for name in manifest.files}
    for name in sorted(names):
        if name.startswith("decisions/"):
            tables = [
                read_table(dataset.store, snapshot_path(manifest.id, name), _COLUMNS)
                if name in manifest.files
                else DECISIONS.empty_table().select(_COLUMNS)
                for manifest in (first, second)
            ]
            places = [
                (np.asarray(t["shard"].to_numpy(), np.int64) << 32) | t["row"].to_numpy()
                for t in tables
            ]
            union = np.union1d(*places)
            old, new = (_take(t, p, union) for t, p in zip(tables, places, strict=True))
            yield old, new


def _take(table: pa.Table, places: np.ndarray, wanted: np.ndarray) -> pa.Table:
    at = np.searchsorted(places, wanted)
    known = at < len(places)
    known[known] = places[at[known]] == wanted[known]
    return table.take(pa.array(at, pa.int64(), mask=~known))


def _states(table: pa.Table) -> pa.ChunkedArray:
    return pc.fill_null(pc.if_else(table["kept"], KEPT, table["reason"]), ABSENT)


def _changed_rows(
    old: pa.Table, new: pa.Table, before: pa.ChunkedArray, after: pa.ChunkedArray
) -> pa.Table:
    identity = [pc.coalesce(new[f.name], old[f.name]) for f in (SHARD, ROW, IMAGE_ID)]
    return pa.Table.from_arrays([*identity, before, after], schema=CHANGED_ROWS)


def _count(mask: pa.ChunkedArray) -> int:
    return int(pc.sum(pc.fill_null(mask, False)).as_py() or 0)
