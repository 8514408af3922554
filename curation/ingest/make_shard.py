"""The image shard that a work list promises, from the lines of its list."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from curation.errors import UsageError
from curation.ingest.config import SourceConfig
from curation.ingest.entries import Taken
from curation.ingest.identity import decode_key, image_id
from curation.ingest.kinds import open_source
from curation.ingest.take import too_large
from curation.ingest.tombstones import Tombstones
from curation.ingest.withhold import TEXTS
from schemas.error_codes import row_error
from schemas.images import IMAGES

MAX_READ_BYTES = 1 << 30
"""Most that one shard may hold in memory; `run.max_shard_bytes` and `max_file_bytes` end there."""


def make_image_shard(rows: pa.Table, source: SourceConfig, tombstones: Tombstones) -> pa.Table:
    """Read the images of one shard into a table of `IMAGES`, one row for each line, in order.

    Bytes are taken as they are, also where there are none. The same content gives the same table,
    whoever makes it. A row without content has a reason in `source_error`: that of its kind of
    source, or `tombstoned` where it is forbidden. Of a forbidden row the words that came with it
    are withheld too; its hash stays, so that snapshots know it.

    Args:
        rows: Lines of `INGEST_LIST` of one shard, in row order.

    Raises:
        ConfigError: A root is refused.
        UsageError: A root has gone altogether, or the files are more than a shard may hold.
    """
    lines = rows.to_pylist()
    _check_memory(lines, source)
    columns: dict[str, list[Any]] = {name: [] for name in IMAGES.names if name != "image_bytes"}
    stored = _StoredBytes()
    for line, taken in zip(lines, open_source(source).read(lines), strict=True):
        values, kept = _row(line, _fitting(taken, stored.num_bytes), tombstones)
        assert values.keys() == columns.keys(), values.keys()
        for name, column in columns.items():
            column.append(values[name])
        stored.append(kept if source.store == "bytes" else None)
    return pa.table({**columns, "image_bytes": stored.array()}, schema=IMAGES)


def _fitting(taken: Taken, num_stored: int) -> Taken:
    """Refuse what would burst the shard: a table's footer may tell less than its images take."""
    left = MAX_READ_BYTES - num_stored
    if taken.data is None or len(taken.data) <= left:
        return taken
    return too_large(taken.uri, len(taken.data), left)


def _row(
    line: Mapping[str, Any], taken: Taken, tombstones: Tombstones
) -> tuple[dict[str, Any], bytes | None]:
    """Return the columns of one row, and its bytes; without bytes and texts if it is forbidden."""
    content = None if taken.data is None else hashlib.sha256(taken.data).digest()
    key = decode_key(line["key"])
    identity = image_id(line["source_name"], key, line["ordinal"], content)
    if tombstones.match(identity, content):
        withheld: dict[str, Any] = dict.fromkeys(("data", *TEXTS))
        taken = replace(taken, error=row_error("tombstoned"), **withheld)
    values = {
        "shard": line["shard"],
        "row": line["row"],
        "image_id": identity,
        "source_name": line["source_name"],
        "source_key": line["key"],
        "source_ordinal": line["ordinal"],
        "source_uri": taken.uri,
        "source_offset": taken.offset,
        "source_length": taken.length,
        "content_sha256": content,
        "num_bytes": taken.num_bytes,
        "alt_text": taken.alt_text,
        "license": taken.license,
        "metadata": taken.metadata,
        "source_error": taken.error,
    }
    return values, taken.data


class _StoredBytes:
    """A binary column that grows file by file, so that a shard is in memory once."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._offsets = [0]
        self._valid: list[bool] = []

    @property
    def num_bytes(self) -> int:
        """Bytes held so far."""
        return len(self._data)

    def append(self, value: bytes | None) -> None:
        self._data += value or b""
        self._offsets.append(len(self._data))
        self._valid.append(value is not None)

    def array(self) -> pa.Array:
        valid = pa.array(self._valid, pa.bool_()).buffers()[1]
        offsets = pa.array(self._offsets, pa.int32()).buffers()[1]
        buffers = [valid, offsets, pa.py_buffer(self._data)]
        return pa.Array.from_buffers(pa.binary(), len(self._valid), buffers)


def _check_memory(lines: Sequence[Mapping[str, Any]], source: SourceConfig) -> None:
    sizes = [line["num_bytes"] or 0 for line in lines]
    total = sum(size for size in sizes if size <= source.max_file_bytes)
    if total > MAX_READ_BYTES:
        message = (
            f"shard {lines[0]['shard']}: {total} bytes to read are more than {MAX_READ_BYTES}; it "
            "was listed under a lower source.max_file_bytes, so set that again to finish its ingest"
        )
        raise UsageError(message)
