"""Taking out of image shards what tombstones forbid.

A rewriter of a shard reads it, changes it and puts it back, and so may bring back what another one
took out meanwhile. Hence two rules for everybody who replaces an image shard, or any other file
that holds something of images. What is put is without all that the tombstones forbid, and not only
without what this rewriter was asked for. And after the put the tombstones are read again: where
there are more than were applied, the file is dealt with again. Whoever forgets adds the tombstone
first and reads the file afterwards, so either it finds what the last put left, or that put's writer
finds the tombstone. What is left open is a rewriter that is killed between its put and that look:
forgetting the same images again mends it.
"""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curation.dataset import Dataset
from curation.ingest.tombstones import Tombstones, read_tombstones
from curation.tables import BYTES, from_parquet, write_table
from schemas import dataset as layout
from schemas.error_codes import error_code, row_error

TEXTS = ("alt_text", "license", "metadata")
"""Columns of `IMAGES` with words that came with an image."""

_GONE = ("forgotten", "tombstoned")
_ERROR = "source_error"
_IDENTITY = ("image_id", "content_sha256")

Mask = NDArray[np.bool_]


def is_gone(error: str | None) -> bool:
    """Say whether a row's `source_error` tells that it is withheld."""
    return error is not None and error_code(error) in _GONE


def forbidden_rows(dataset: Dataset, shard: int, tombstones: Tombstones) -> Mask:
    """Say for each row of an image shard whether it is forbidden; the bytes are not read."""
    return _mask(dataset.read_images(shard, _IDENTITY), tombstones)


def withhold(images: pa.Table, tombstones: Tombstones) -> pa.Table:
    """Null bytes and texts of the rows of `IMAGES` that are forbidden, whose error says so."""
    here = _mask(images, tombstones)
    if not here.any():
        return images
    for name in (*TEXTS, BYTES):
        images = null_rows(images, name, here)
    index = images.schema.get_field_index(_ERROR)
    errors = images[_ERROR].to_pylist()
    for row in np.flatnonzero(here):
        errors[row] = errors[row] if is_gone(errors[row]) else row_error("forgotten")
    return images.set_column(index, images.schema.field(index), pa.array(errors, pa.string()))


def withhold_in_shard(dataset: Dataset, shard: int, tombstones: Tombstones) -> bool:
    """Take out of an image shard what is forbidden; say whether there was anything.

    A shard without is not written, and of its bytes no more is read than the forbidden rows need.
    """
    facts = dataset.read_images(shard, (*_IDENTITY, *TEXTS, _ERROR))
    here = _mask(facts, tombstones)
    if not here.any():
        return False
    errors = facts[_ERROR].filter(pa.array(here)).to_pylist()
    texts = any(facts[name].filter(pa.array(here)).null_count < here.sum() for name in TEXTS)
    if all(map(is_gone, errors)) and not texts and not _has_bytes(dataset, shard, here):
        return False
    path = layout.images_path(shard)
    write_table(dataset.store, path, withhold(dataset.read_images(shard), tombstones))
    return True


def settle(dataset: Dataset, shard: int, applied: Tombstones) -> None:
    """Follow the second rule above, after a put of an image shard.

    Args:
        dataset: The dataset.
        shard: The shard that was put.
        applied: The tombstones that were applied to what was put.
    """
    while (now := read_tombstones(dataset)) != applied:
        withhold_in_shard(dataset, shard, now)
        applied = now


def null_rows(table: pa.Table, name: str, here: Mask) -> pa.Table:
    """Null a column where `here` is true, whatever its type."""
    # Taking with a null index nulls a value of any type, nested ones too.
    places = pa.array(np.arange(len(table)), pa.int64(), mask=here)
    index = table.schema.get_field_index(name)
    return table.set_column(index, table.schema.field(index), table[name].take(places))


def _mask(images: pa.Table, tombstones: Tombstones) -> Mask:
    mask = tombstones.mask(images["image_id"], images["content_sha256"])
    return np.asarray(mask.fill_null(False).to_numpy(), np.bool_)


def _has_bytes(dataset: Dataset, shard: int, here: Mask) -> bool:
    """Say whether a row of `here` has bytes; reads the row groups that hold one."""
    with dataset.store.open(layout.images_path(shard)) as file:
        metadata = pq.ParquetFile(file).metadata
        start = 0
        for group in range(metadata.num_row_groups):
            part = here[start : start + metadata.row_group(group).num_rows]
            start += len(part)
            if part.any():
                found = from_parquet(file, [BYTES], [group])[BYTES].is_valid()
                if (np.asarray(found.to_numpy()) & part).any():
                    return True
    return False
