"""Tombstones, as read by ingest, snapshots and the trainer's loader."""

import hashlib
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from curation.dataset import Dataset
from curation.tables import conform, read_table, to_parquet
from schemas.tombstones import TOMBSTONES

_FOLDER = "tombstones"


@dataclass(frozen=True)
class Tombstones:
    """What is forbidden.

    Attributes:
        image_ids: Images at one place, 16 bytes each.
        contents: SHA-256 of contents forbidden everywhere, 32 bytes each.
    """

    image_ids: frozenset[bytes] = frozenset()
    contents: frozenset[bytes] = frozenset()

    def match(self, image_id: bytes, content_sha256: bytes | None) -> bool:
        """Say whether an image is forbidden."""
        return image_id in self.image_ids or content_sha256 in self.contents

    def mask(self, image_ids: pa.ChunkedArray, contents: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return `match` for whole columns of `image_id` and `content_sha256`, without nulls."""
        by_id = pc.is_in(image_ids, pa.array(sorted(self.image_ids), image_ids.type))
        by_content = pc.is_in(contents, pa.array(sorted(self.contents), contents.type))
        return pc.or_(by_id, by_content)


def read_tombstones(dataset: Dataset) -> Tombstones:
    """Read every tombstone of a dataset; they are few, and held in memory."""
    image_ids: set[bytes] = set()
    contents: set[bytes] = set()
    for name in dataset.store.names(_FOLDER):
        if name.endswith(".parquet"):
            columns = ["image_id", "content_sha256"]
            table = read_table(dataset.store, f"{_FOLDER}/{name}", columns)
            image_ids.update(table["image_id"].drop_null().to_pylist())
            contents.update(table["content_sha256"].drop_null().to_pylist())
    return Tombstones(frozenset(image_ids), frozenset(contents))


def add_tombstones(dataset: Dataset, rows: pa.Table) -> str:
    """Add rows of `TOMBSTONES` to a dataset, once however often the same rows are added.

    Returns:
        The file that holds them.
    """
    data = to_parquet(conform(rows, TOMBSTONES))
    name = f"{_FOLDER}/{hashlib.sha256(data).hexdigest()[:32]}.parquet"
    dataset.store.create(name, data)
    return name
