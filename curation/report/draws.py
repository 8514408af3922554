"""Which rows are shown: drawn by hash within groups, from a stream of any length."""

import heapq
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.draw import draw_hashes

SEED = 20
"""Of all draws of a report; any number, so long as it stays."""


@dataclass(frozen=True, order=True)
class Place:
    """Where a row lies."""

    shard: int
    row: int


def draw_rows(batches: Iterable[pa.RecordBatch], per_group: int) -> dict[str, list[Place]]:
    """Draw up to `per_group` rows of each group.

    Args:
        batches: Columns `group` (text), `image_id`, `shard` and `row`; in any order.
        per_group: How many.

    Returns:
        Group -> places, in the order of their hashes: the same whatever order the rows came in.
    """
    best: dict[str, list[tuple[int, str, Place]]] = {}
    for batch in batches:
        table = pa.Table.from_batches([batch]).filter(pc.is_valid(batch.column("image_id")))
        hashes = _hash(table["image_id"])
        groups = table["group"].combine_chunks().dictionary_encode()
        codes: Any = groups.indices.to_numpy(zero_copy_only=False)
        order = np.lexsort((hashes, codes))
        codes = codes[order]
        starts = np.searchsorted(codes, codes)
        chosen = order[np.arange(len(codes)) - starts < per_group]
        taken = table.take(pa.array(chosen)).to_pylist()
        for row, value in zip(taken, hashes[chosen].tolist(), strict=True):
            entry = (value, str(row["image_id"]), Place(row["shard"], row["row"]))
            best.setdefault(row["group"], []).append(entry)
        for name, entries in best.items():
            if len(entries) > per_group:
                best[name] = sorted(entries)[:per_group]
    return {name: [place for _, _, place in sorted(best[name])] for name in sorted(best)}


def draw_ids(batches: Iterable[pa.RecordBatch], count: int) -> list[str]:
    """Draw up to `count` of the identifiers in the column `image_id`, in the order of hashes."""
    best: list[tuple[int, str]] = []
    for batch in batches:
        ids = batch.column("image_id")
        best = heapq.nsmallest(count, [*best, *zip(_hash(ids), ids.to_pylist(), strict=True)])
    return [name for _, name in best]


def _hash(ids: Any) -> Any:
    """Hash identifiers in the form in which SQL gives them, as text."""
    return draw_hashes((uuid.UUID(value).bytes for value in ids.to_pylist()), SEED)
