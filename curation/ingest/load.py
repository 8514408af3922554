"""The bytes of rows of an image shard, wherever they are kept."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from curation.ingest.local_root import SCHEME, path_of, read_file
from curation.ingest.roots import check_protocol
from curation.ingest.spans import Spans
from curation.storage import Store
from schemas.error_codes import row_error

_log = logging.getLogger(__name__)

LOAD_COLUMNS = (
    "source_uri",
    "source_offset",
    "source_length",
    "content_sha256",
    "num_bytes",
    "source_error",
    "image_bytes",
)
"""Columns of `IMAGES` that `load_bytes` needs."""


def load_bytes(images: pa.Table, protocols: tuple[str, ...]) -> list[bytes | str]:
    """Return for each row the file's bytes, or `code: text` where there are none.

    Stored bytes come as they are. A file that was left in place is read again, and counts only if
    its hash is that of `content_sha256`: else the row is `changed`, or `unavailable` where nothing
    can be read. So a URI alone gives nobody a file whose content the dataset does not know.

    Args:
        images: Rows of an image shard, with at least `LOAD_COLUMNS`.
        protocols: fsspec protocols that may be read, as in `source.protocols`.

    Raises:
        ConfigError: A file is to be read by another protocol.
    """
    rows = images.select(LOAD_COLUMNS).to_pylist()
    parts = _open_parts(rows, protocols)
    return [_load(row, protocols, parts.get(row["source_uri"])) for row in rows]


class _Parts:
    """The ranges of one file that rows name, read together; asked for in the order of the rows."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._wanted: list[tuple[int, int]] = []
        self._spans: Spans | None = None
        self._next = 0

    def add(self, offset: int, num_bytes: int) -> None:
        self._wanted.append((offset, offset + num_bytes))

    def read_next(self) -> bytes:
        if self._spans is None:
            self._spans = Spans(
                self._wanted, lambda start, stop: _read(self._uri, start, stop - start)
            )
        self._next += 1
        return self._spans.get(self._next - 1)


def _open_parts(rows: Sequence[Mapping[str, Any]], protocols: tuple[str, ...]) -> dict[str, _Parts]:
    parts: dict[str, _Parts] = {}
    for row in rows:
        if row["source_offset"] is not None and _is_left_in_place(row):
            check_protocol(row["source_uri"], protocols, row["source_uri"])
            found = parts.setdefault(row["source_uri"], _Parts(row["source_uri"]))
            found.add(row["source_offset"], row["num_bytes"])
    return parts


def _is_left_in_place(row: Mapping[str, Any]) -> bool:
    return row["source_error"] is None and row["image_bytes"] is None


def _load(row: Mapping[str, Any], protocols: tuple[str, ...], parts: _Parts | None) -> bytes | str:
    if row["source_error"] is not None:
        return str(row["source_error"])
    if row["image_bytes"] is not None:
        return bytes(row["image_bytes"])
    uri: str = row["source_uri"]
    check_protocol(uri, protocols, uri)
    try:
        if row["source_offset"] is None or parts is None:
            data = _read(uri, 0, row["num_bytes"])
        else:
            data = parts.read_next()
    except OSError as error:
        _log.warning("%s: cannot be read: %s", uri, error)
        return row_error("unavailable")
    if hashlib.sha256(data).digest() != row["content_sha256"]:
        return row_error("changed")
    return data


def _read(uri: str, offset: int, num_bytes: int) -> bytes:
    """Read `num_bytes` at `offset`; the caller's hash says whether they are those of before."""
    if num_bytes == 0:
        return b""
    if uri.startswith(SCHEME):
        _, data = read_file(path_of(uri), num_bytes, offset, num_bytes)
        assert data is not None
        return data
    scheme, _, rest = uri.partition("://")
    fs = Store(f"{scheme}://{rest.partition('/')[0]}").fs
    data = fs.cat_file(uri, start=offset, end=offset + num_bytes)
    assert isinstance(data, bytes)
    return data
