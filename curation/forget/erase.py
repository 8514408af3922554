"""Taking out of a dataset what it keeps of forgotten images."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.dataset import Dataset
from curation.forget.find import Found
from curation.ingest.tombstones import add_tombstones
from curation.tables import write_table
from schemas import dataset as layout
from schemas.columns import IDENTITY
from schemas.error_codes import error_code, row_error
from schemas.tombstones import TOMBSTONES

_IDENTITY = {field.name for field in IDENTITY}
_GONE = ("forgotten", "tombstoned")


@dataclass(frozen=True)
class Erased:
    """What was done.

    Attributes:
        num_rows: Rows that have no bytes any more.
        image_shards: Image shards written anew.
        stage_files: Files of stages written anew, of all pipelines and fingerprints.
        purged: Folders below snapshots that were deleted.
    """

    num_rows: int
    image_shards: tuple[int, ...]
    stage_files: tuple[str, ...]
    purged: tuple[str, ...]


def erase(dataset: Dataset, found: Found, reason: str, source: str, *, purge: bool) -> Erased:
    """Forbid the images, then null what stages said of them, then their bytes.

    Killed anywhere and called again it goes on: tombstones come first, so that nothing new begins
    with the images, and a file that was dealt with is left alone. The identity of a row, its key
    and its content hash stay, so that every snapshot still accounts for it; the row's error is
    `forgotten`. A run that was at work meanwhile may have written what it had read before: calling
    this again finds that too.

    Args:
        dataset: The dataset.
        found: What `find` found.
        reason: Why, in the words of whoever asked.
        source: Where the request came from, for example a ticket; may be empty.
        purge: Delete materialised and derived tables of tainted snapshots that hold them.
    """
    add_tombstones(dataset, _tombstone_rows(found, reason, source))
    shards: list[int] = []
    files: list[str] = []
    folders = list(dataset.stage_folders())
    for shard in found.shards:
        rows = found.rows.filter(pc.equal(found.rows["shard"], shard))["row"].to_pylist()
        for instance, fingerprint in folders:
            folder = layout.instance_folder(instance, fingerprint)
            there = dataset.files.exists(folder, shard)
            if there and _null_values(dataset, folder, shard, instance, rows):
                files.append(f"{folder}/{layout.shard_file(shard)}")
        if _null_bytes(dataset, shard, rows):
            shards.append(shard)
    purged = []
    for taint in found.taints if purge else ():
        for folder in taint.materialized:
            _delete(dataset, folder)
            purged.append(folder)
    return Erased(len(found.rows), tuple(shards), tuple(files), tuple(purged))


def _tombstone_rows(found: Found, reason: str, source: str) -> pa.Table:
    named = [
        *((image_id, None) for image_id in sorted(found.tombstones.image_ids)),
        *((None, content) for content in sorted(found.tombstones.contents)),
    ]
    rows = [
        {"image_id": image_id, "content_sha256": content, "reason": reason, "source": source}
        for image_id, content in named
    ]
    return pa.Table.from_pylist(rows, TOMBSTONES)


def _null_values(dataset: Dataset, folder: str, shard: int, instance: str, rows: list[int]) -> bool:
    """Null an instance's own columns in `rows` of one shard; say whether there were any values."""
    table = dataset.files.read(folder, shard)
    error = f"{instance}_error"
    text = row_error("forgotten")
    here = np.isin(table["row"].to_numpy(), rows)
    errors = table[error].to_pylist()
    if all(errors[position] == text for position in np.flatnonzero(here)):
        return False
    # Taking with a null index nulls a value of any type, nested ones too.
    places = pa.array(np.arange(len(table)), pa.int64(), mask=here)
    for index, field in enumerate(table.schema):
        if field.name == error:
            column = pc.if_else(pa.array(here), text, table[error])
            table = table.set_column(index, field, column)
        elif field.name not in _IDENTITY:
            table = table.set_column(index, field, table[field.name].take(places))
    dataset.files.replace(folder, shard, table)
    return True


def _null_bytes(dataset: Dataset, shard: int, rows: list[int]) -> bool:
    """Null the bytes of `rows`, and what came with them; say whether something had to be done."""
    path = layout.images_path(shard)
    errors = dataset.read_images(shard, ["source_error"])["source_error"].to_pylist()
    if all(errors[row] is not None and error_code(errors[row]) in _GONE for row in rows):
        return False
    table = dataset.read_images(shard)
    here = np.isin(table["row"].to_numpy(), rows)
    places = pa.array(np.arange(len(table)), pa.int64(), mask=here)
    for name in ("image_bytes", "alt_text", "metadata"):
        index = table.schema.get_field_index(name)
        table = table.set_column(index, table.schema.field(index), table[name].take(places))
    index = table.schema.get_field_index("source_error")
    column = pc.if_else(pa.array(here), row_error("forgotten"), table["source_error"])
    table = table.set_column(index, table.schema.field(index), column)
    write_table(dataset.store, path, table)
    return True


def _delete(dataset: Dataset, folder: str) -> None:
    """Delete a folder's manifest first, so that what is left is never taken for a whole table."""
    files = dataset.store.files(folder)
    for name in sorted(files, key=lambda name: (not name.endswith("manifest.json"), name)):
        dataset.store.delete(name)
