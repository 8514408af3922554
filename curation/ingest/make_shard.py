"""The image shard that a work list promises, from the files that it names."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curation.errors import UsageError
from curation.ingest.config import SourceConfig
from curation.ingest.facts import Facts
from curation.ingest.identity import decode_key, image_id
from curation.ingest.roots import Root, open_roots
from curation.ingest.tombstones import Tombstones
from schemas.error_codes import row_error
from schemas.images import IMAGES

_log = logging.getLogger(__name__)

MAX_READ_BYTES = 1 << 30
"""Most that one shard may hold in memory; `run.max_shard_bytes` and `max_file_bytes` end there."""


@dataclass(frozen=True)
class _Taken:
    """What became of one file: its bytes, or why there are none."""

    uri: str
    data: bytes | None = None
    num_bytes: int | None = None
    error: str | None = None


def make_image_shard(rows: pa.Table, source: SourceConfig, tombstones: Tombstones) -> pa.Table:
    """Read the files of one shard into a table of `IMAGES`, one row for each line, in order.

    Bytes are taken as they are, also where there are none. The same files give the same table,
    whoever makes it. A row without content has a reason in `source_error`:

    - `changed` (transient): size, tag or time differ from the line, or the file has gone. The next
      ingest lists what is there now; a file that has gone needs `sync`.
    - `unavailable` (transient): the store did not give it, or this user may not read it.
    - `too_large`: more than `max_file_bytes`; it is not read.
    - `tombstoned`: forbidden; its hash stays, so that snapshots know it too.

    A file is read at its line's URI where that lies below a root. Where the source has moved since
    it was listed, it is looked for under the roots of today; never outside of them.

    Args:
        rows: Lines of `INGEST_LIST` of one shard, in row order.

    Raises:
        ConfigError: A root is refused.
        UsageError: A root has gone altogether, or the files are more than a shard may hold.
    """
    lines = rows.to_pylist()
    _check_memory(lines, source)
    roots = open_roots(source)
    columns: dict[str, list[Any]] = {name: [] for name in IMAGES.names if name != "image_bytes"}
    stored = _StoredBytes()
    for line in lines:
        key = decode_key(line["key"])
        taken = _take(line, key, roots, source.max_file_bytes)
        content = None if taken.data is None else hashlib.sha256(taken.data).digest()
        identity = image_id(line["source_name"], key, line["ordinal"], content)
        error, kept = taken.error, taken.data
        if tombstones.match(identity, content):
            error, kept = row_error("tombstoned"), None
        values = {
            "shard": line["shard"],
            "row": line["row"],
            "image_id": identity,
            "source_name": line["source_name"],
            "source_key": line["key"],
            "source_ordinal": line["ordinal"],
            "source_uri": taken.uri,
            "content_sha256": content,
            "num_bytes": taken.num_bytes,
            "source_error": error,
        }
        assert values.keys() <= columns.keys(), values.keys()
        for name, column in columns.items():
            column.append(values.get(name))
        stored.append(kept if source.store == "bytes" else None)
    return pa.table({**columns, "image_bytes": stored.array()}, schema=IMAGES)


class _StoredBytes:
    """A binary column that grows file by file, so that a shard is in memory once."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._offsets = [0]
        self._valid: list[bool] = []

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


def _take(line: Mapping[str, Any], key: bytes, roots: Sequence[Root], max_bytes: int) -> _Taken:
    uri: str = line["uri"]
    listed = Facts(line["num_bytes"], line["etag"], line["mtime_ns"])
    if listed.size is not None and listed.size > max_bytes:
        return _too_large(uri, listed.size, max_bytes)
    root = _root_of(uri, key, roots)
    if root is None:
        return _Taken(uri, error=row_error("changed"))
    uri = root.uri(key)
    try:
        facts, data = root.read(key, max_bytes)
    except (FileNotFoundError, NotADirectoryError):
        root.check()  # a lost mount is no row's error
        return _Taken(uri, error=row_error("changed"))
    except OSError as error:
        _log.warning("%s: cannot be read: %s", uri, error)
        return _Taken(uri, error=row_error("unavailable"))
    if listed.differs(facts):
        return _Taken(uri, error=row_error("changed"))
    if data is None:
        return _too_large(uri, facts.size, max_bytes)
    return _Taken(uri, data, len(data))


def _too_large(uri: str, size: int | None, max_bytes: int) -> _Taken:
    error = row_error("too_large", num_bytes=size, limit=max_bytes)
    return _Taken(uri, num_bytes=size, error=error)


def _root_of(uri: str, key: bytes, roots: Sequence[Root]) -> Root | None:
    for root in roots:
        if root.uri(key) == uri:
            return root
    return next((root for root in roots if root.facts(key) is not None), None)
