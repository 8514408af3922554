"""Parquet files of other people, opened so that nothing in them can choose what is run.

pyarrow keeps its own schema in a Parquet file's metadata, and a registered extension type that is
named there is made by that type's own code from bytes in the file; some (Ray's tensors) unpickle
them. So that entry is blanked in the footer before pyarrow sees it, and logical types stay plain:
no extension type is ever made. What the columns hold is then checked against `is_plain`.
"""

import io
import logging
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.config import nearest
from curation.errors import UsageError
from curation.ingest.facts import Facts
from curation.ingest.roots import Root

_log = logging.getLogger(__name__)

MAX_FOOTER_BYTES = 64 << 20
_SCHEMA_KEY = b"ARROW:schema"
_BLANKED = b"ARROW:nobody"
_MAGIC = b"PAR1"
_BATCH_ROWS = 64
_BUFFER_BYTES = 4 << 20


class TableError(Exception):
    """The file is no table that can be read.

    Attributes:
        code: `empty`, `truncated` or `undecodable`.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class ForeignTable:
    """An open Parquet file.

    Raises:
        TableError: It is no Parquet file. OSError: It cannot be read.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = _Blanked(file)
        with self._explained():
            opened = pa.PythonFile(self._file, mode="r")
            # Otherwise the columns of a whole row group are read into memory at once.
            self._parquet = pq.ParquetFile(
                opened,
                buffer_size=_BUFFER_BYTES,
                pre_buffer=False,
                arrow_extensions_enabled=False,
            )
        self.schema: pa.Schema = self._parquet.schema_arrow
        self.metadata: Any = self._parquet.metadata

    @property
    def group_rows(self) -> list[int]:
        """Number of rows in each row group."""
        groups = range(self.metadata.num_row_groups)
        return [self.metadata.row_group(group).num_rows for group in groups]

    def batches(self, columns: Sequence[str], groups: Sequence[int]) -> Iterator[pa.RecordBatch]:
        """Read columns in small batches, whatever the size of the row groups.

        Raises:
            TableError: The data is broken. OSError: It cannot be read.
        """
        with self._explained():
            for batch in self._parquet.iter_batches(
                batch_size=_BATCH_ROWS,
                row_groups=list(groups),
                columns=list(columns),
                use_threads=False,
            ):
                # Else a text that is no UTF-8 raises only when somebody looks at it.
                batch.validate(full=True)
                yield _with_times_as_text(batch)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError, ValueError) as error:
            # pyarrow reports broken data as an OSError too.
            if self._file.failure is not None:
                raise self._file.failure from error
            _log.warning("a Parquet file cannot be read: %s", error)
            raise TableError("undecodable") from error


def _with_times_as_text(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Write times as Arrow does: Python has neither nanoseconds nor all the years."""
    for index, field in enumerate(batch.schema):
        if pa.types.is_temporal(field.type):
            batch = batch.set_column(index, field.name, batch.column(index).cast(pa.string()))
    return batch


def to_rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Return the rows of a batch as Python values.

    Raises:
        TableError: They have none, for example where a struct names a field twice.
    """
    try:
        return list(batch.to_pylist())
    except (pa.ArrowException, ValueError, OverflowError) as error:
        raise TableError("undecodable") from error


@contextmanager
def open_table(root: Root, key: bytes) -> Iterator[tuple[Facts, ForeignTable]]:
    """Open a Parquet file below a root: its facts, and its table.

    Raises:
        TableError: It is no Parquet file. OSError: It cannot be read.
    """
    with root.open(key) as (facts, file):
        yield facts, ForeignTable(file)


def check_column(schema: pa.Schema, name: str, where: str, uri: str) -> pa.DataType:
    """Return the type of a column that the user named.

    Args:
        where: Key of the pipeline file that names it.

    Raises:
        UsageError: There is no such column, or more than one.
    """
    found = schema.get_all_field_indices(name)
    if len(found) != 1:
        there = "no column" if not found else f"{len(found)} columns"
        message = f"{uri}: {where} names {name!r}, and the file has {there} of that name"
        raise UsageError(message + nearest(name, schema.names))
    return schema.field(found[0]).type


def check_plain(schema: pa.Schema, name: str, where: str, uri: str) -> None:
    """Refuse a column whose values are no time, text, number, or lists and structs of the latter.

    Raises:
        UsageError: It is, or is not there.
    """
    kind = check_column(schema, name, where, uri)
    if not is_plain(kind):
        message = (
            f"{uri}: {where} names {name!r}, which is {kind}; expected times, text, numbers, or "
            "lists and structs of the latter two"
        )
        raise UsageError(message)


def is_plain(kind: pa.DataType) -> bool:
    """Say whether values of a type can be written as JSON without a choice of ours."""
    if pa.types.is_temporal(kind):
        return True
    return _is_plain_inside(kind)


def _is_plain_inside(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return all(_is_plain_inside(field.type) for field in kind)
    if pa.types.is_list(kind):
        return _is_plain_inside(kind.value_type)
    return any(
        is_kind(kind)
        for is_kind in (
            pa.types.is_boolean,
            pa.types.is_integer,
            pa.types.is_floating,
            pa.types.is_decimal,
            pa.types.is_string,
            pa.types.is_null,
        )
    )


class _Blanked(io.RawIOBase):
    """A Parquet file whose footer names no Arrow schema."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file
        size = file.seek(0, 2)
        if size == 0:
            raise TableError("empty")
        file.seek(max(size - 8, 0))
        tail = file.read(8)
        if len(tail) < 8 or tail[4:] != _MAGIC:
            file.seek(0)
            raise TableError("truncated" if file.read(4) == _MAGIC else "undecodable")
        length = struct.unpack("<I", tail[:4])[0]
        if length > min(MAX_FOOTER_BYTES, size - 12):
            raise TableError("undecodable")
        self._start = size - 8 - length
        file.seek(self._start)
        # Of the same length, so no other byte moves.
        self._footer = file.read(length).replace(_SCHEMA_KEY, _BLANKED) + tail
        self._size = size
        self._position = 0
        self.failure: OSError | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (0, self._position, self._size)[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        start = self._position
        stop = self._size if size < 0 else min(start + size, self._size)
        data = b""
        if start < min(stop, self._start):
            try:
                self._file.seek(start)
                data = self._file.read(min(stop, self._start) - start)
            except OSError as error:
                self.failure = error
                raise
        if stop > self._start and start + len(data) >= self._start:
            data += self._footer[start + len(data) - self._start : stop - self._start]
        self._position = start + len(data)
        return data
