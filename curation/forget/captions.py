"""Taking captions of forgotten images out of the training tables of snapshots."""

import hashlib
from collections.abc import Callable, Iterator, Set

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.dataset import Dataset
from curation.ingest.withhold import Mask
from curation.snapshot.amendments import amend_file
from curation.snapshot.read import read_manifest, snapshot_path
from curation.tables import from_parquet, read_table

_COLUMNS = ("shard", "row", "image_id", "captions")


def clean_captions(
    dataset: Dataset,
    snapshot: str,
    image_ids: pa.Array,
    forbidden_in: Callable[[int], Mask],
    again: Set[str],
    tombstones: str,
) -> Iterator[str]:
    """Empty `captions` of forgotten rows in a snapshot's `data/`; yield each file that was put.

    Args:
        dataset: The dataset.
        snapshot: Its whole id.
        image_ids: The images that must be without captions afterwards.
        forbidden_in: Shard -> whether each of its rows is forbidden.
        again: Files that this caller has put: they must be without all that is forbidden.
        tombstones: File with the tombstones that ask for it.
    """
    made = set(dataset.image_shards())
    for file in sorted(read_manifest(dataset, snapshot).files):
        path = snapshot_path(snapshot, file)
        if not file.startswith("data/") or not dataset.store.exists(path):
            continue  # a file that is missing is for `verify_snapshot` to say
        facts = read_table(dataset.store, path, _COLUMNS)
        here = np.asarray(pc.is_in(facts["image_id"], image_ids).to_numpy(), np.bool_)
        if path in again:
            here |= _forbidden(facts, made, forbidden_in)
        if not _has_captions(facts, here):
            continue
        data = dataset.store.read(path)
        table = from_parquet(pa.BufferReader(data))
        here |= _forbidden(table, made, forbidden_in)
        index = table.schema.get_field_index("captions")
        field = table.schema.field(index)
        captions = pc.if_else(pa.array(here), pa.scalar([], field.type), table["captions"])
        table = table.set_column(index, field, captions)
        before = hashlib.sha256(data).hexdigest()
        amend_file(dataset, snapshot, file, before, table, tombstones)
        yield path


def _has_captions(facts: pa.Table, here: Mask) -> bool:
    lengths = pc.list_value_length(facts["captions"].filter(pa.array(here)))
    return bool(pc.any(pc.greater(lengths, 0)).as_py())


def _forbidden(table: pa.Table, made: set[int], forbidden_in: Callable[[int], Mask]) -> Mask:
    shards, rows = (np.asarray(table[name].to_numpy()) for name in ("shard", "row"))
    here = np.zeros(len(table), np.bool_)
    for shard in set(pc.unique(table["shard"]).to_pylist()) & made:
        inside = shards == shard
        here[inside] = forbidden_in(shard)[rows[inside]]
    return here
