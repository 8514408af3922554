"""`kind: parquet`: the images in a column of Parquet files."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Literal

import pyarrow as pa
from pydantic import field_validator

from curation.errors import UsageError
from curation.ingest.archives import SEPARATOR, ArchiveSource
from curation.ingest.config import RootsConfig
from curation.ingest.entries import Entry, Line, Taken, facts_json
from curation.ingest.facts import Facts
from curation.ingest.foreign import (
    ForeignTable,
    TableError,
    check_column,
    check_plain,
    open_table,
    to_rows,
)
from curation.ingest.resolve import resolve
from curation.ingest.roots import Root
from curation.ingest.table_rows import MeanBytes, times_read, wanted_rows
from curation.ingest.take import find_root, too_large
from curation.ingest.texts import as_text, to_json
from curation.storage import Store
from schemas.error_codes import row_error

_log = logging.getLogger(__name__)

_ENDING = b".parquet"

MAX_TIMES_READ = 8.0
"""How often the row groups of a file may have to be read, in the order of its keys."""


class ParquetConfig(RootsConfig):
    """Parquet files below folders or prefixes.

    Attributes:
        image_column: Holds the images: their bytes, or structs of `bytes` and `path`.
        key_column: Holds a text or number that names each row within its file; null takes row
            group and row. Rows are taken in as their keys are ordered, as text, so a file of many
            row groups should be sorted by it: one whose groups would have to be read more than
            `MAX_TIMES_READ` times is refused.
        caption_column: Holds the caption; null for none.
        license_column: Holds the licence; null for none.
        metadata_columns: Columns to keep: times, text, numbers, or lists and structs of the latter
            two.
    """

    kind: Literal["parquet"] = "parquet"
    image_column: str = "image"
    key_column: str | None = None
    caption_column: str | None = None
    license_column: str | None = None
    metadata_columns: tuple[str, ...] = ()

    @field_validator("store")
    @classmethod
    def _by_bytes(cls, store: str) -> str:
        if store != "bytes":
            message = (
                "an image in a Parquet file has no range of bytes to refer to, since pages are "
                "encoded and compressed; use store: bytes"
            )
            raise ValueError(message)
        return store

    def plain_columns(self) -> dict[str, str]:
        """Return the named columns that hold plain values -> the key that names each."""
        named = {
            "source.key_column": self.key_column,
            "source.caption_column": self.caption_column,
            "source.license_column": self.license_column,
        }
        columns = {column: where for where, column in named.items() if column is not None}
        return dict.fromkeys(self.metadata_columns, "source.metadata_columns") | columns


class ParquetSource(ArchiveSource):
    """Every row is a row, with the key `file!row group/row`, or `file!` and a key of the user's.

    Listing reads footers, and the key column if one is named; a file that did not change is not
    opened. All rows of one that did are `changed`: which of them differ cannot be known without
    reading them, and rows that turn out the same keep their ids. A file that is no Parquet is a
    row `file!` that says so; one without a named column is refused, and so is one whose rows lie
    too far from the order of their keys. A row whose image has a `path` and no bytes is read from
    there: below the Parquet file's folder, or absolute below a root.
    """

    ending = _ENDING

    def __init__(self, config: ParquetConfig, dataset: Store | None = None) -> None:
        super().__init__(config, dataset)
        self._config = config

    # Listing -----------------------------------------------------------------------------------

    def _list_file(self, root: Root, file: Entry) -> Iterator[Entry]:
        prefix = file.key + SEPARATOR
        container = facts_json(file.facts)
        facts = Facts(None, file.facts.etag, file.facts.mtime_ns)
        no_key = row_error("missing_input", column=self._config.key_column)
        try:
            with open_table(root, file.key) as (_, table):
                check_table(table.schema, self._config, file.uri)
                sizes = MeanBytes(table.metadata, self._config.image_column)
                for inner, ordinal, row in self._inner_keys(table, sizes, file.uri):
                    yield Entry(
                        prefix + inner,
                        file.uri,
                        facts,
                        ordinal=ordinal,
                        table_row=row,
                        container=container,
                        error=None if inner else no_key,
                        expected_bytes=sizes.of(row),
                    )
        except TableError as error:
            text = row_error(error.code, format="parquet")
            yield Entry(prefix, file.uri, facts, container=container, error=text)

    def _inner_keys(
        self, table: ForeignTable, sizes: MeanBytes, uri: str
    ) -> Iterator[tuple[bytes, int, int]]:
        """Yield inner key, ordinal and row of the file, by place."""
        column = self._config.key_column
        if column is None:
            row = 0
            for group, num_rows in enumerate(table.group_rows):
                for inner in range(num_rows):
                    yield f"{group:06d}/{inner:08d}".encode(), 0, row
                    row += 1
            return
        keys: list[tuple[bytes, int]] = []
        for batch in table.batches([column], range(len(table.group_rows))):
            for values in to_rows(batch):
                keys.append(((as_text(values[column]) or "").encode(), len(keys)))
        keys.sort()
        rows = [row for key, row in keys if key]
        self._check_order(table, times_read(table.group_rows, rows, sizes.shard_rows()), uri)
        for key, same in groupby(keys, lambda pair: pair[0]):
            for ordinal, (_, row) in enumerate(same):
                yield key, ordinal, row

    def _check_order(self, table: ForeignTable, times: float, uri: str) -> None:
        """Refuse a file of which every shard would read nearly all row groups."""
        if times > MAX_TIMES_READ:
            message = (
                f"{uri}: source.key_column names {self._config.key_column!r}, and its "
                f"{len(table.group_rows)} row groups would be read {times:.0f} times each, as its "
                "rows are not in the order of that column's values as text; write the file again "
                "sorted by it, or leave key_column out"
            )
            raise UsageError(message)

    # Reading -----------------------------------------------------------------------------------

    def _read_file(self, uri: str, file: bytes, lines: Sequence[Line]) -> Iterator[Taken]:
        root = find_root(uri, file, self._roots)
        uri = uri if root is None else root.uri(file)
        num_done = 0
        try:
            if root is None:
                raise FileNotFoundError(uri)
            with open_table(root, file) as (facts, table):
                if lines[0]["container"] not in (None, facts_json(facts)):
                    raise FileNotFoundError(uri)
                check_table(table.schema, self._config, uri)
                for taken in self._take_rows(root, file, table, uri, lines):
                    yield taken
                    num_done += 1
            return
        except (FileNotFoundError, NotADirectoryError):
            if root is not None:
                root.check()  # a lost mount is no row's error
            error = row_error("changed")
        except OSError as problem:
            _log.warning("%s: cannot be read: %s", uri, problem)
            error = row_error("unavailable")
        except TableError as problem:
            error = row_error(problem.code, format="parquet")
        for line in lines[num_done:]:
            yield Taken(uri, error=line["error"] or error)

    def _take_rows(
        self, root: Root, file: bytes, table: ForeignTable, uri: str, lines: Sequence[Line]
    ) -> Iterator[Taken]:
        wanted = sorted(line["table_row"] for line in lines if line["error"] is None)
        columns = dict.fromkeys([self._config.image_column, *self._config.plain_columns()])
        found = wanted_rows(table, list(columns), wanted)
        early: dict[int, dict[str, Any]] = {}
        for line in lines:
            if line["error"] is not None:
                yield Taken(uri, error=line["error"])
                continue
            while line["table_row"] not in early:
                try:
                    row, values = next(found)
                except StopIteration:
                    raise TableError("truncated") from None
                early[row] = values
            yield self._take(root, file, uri, early.pop(line["table_row"]))

    def _take(self, root: Root, file: bytes, uri: str, values: Mapping[str, Any]) -> Taken:
        config = self._config
        data = values[config.image_column]
        if isinstance(data, Mapping):
            if data["bytes"] is None and data.get("path") is not None:
                folder = file[: file.rfind(b"/") + 1]
                uri, data = self._read_path(root, folder, data["path"])
            else:
                data = data["bytes"]
        if isinstance(data, Taken):
            return data
        if data is None:
            return Taken(uri, error=row_error("missing_input", column=config.image_column))
        if len(data) > config.max_file_bytes:
            return too_large(uri, len(data), config.max_file_bytes)
        facts = {name: values[name] for name in config.metadata_columns}
        return Taken(
            uri,
            data,
            len(data),
            alt_text=as_text(values.get(config.caption_column or "")) or None,
            license=as_text(values.get(config.license_column or "")) or None,
            metadata=to_json(facts),
        )

    def _read_path(self, root: Root, folder: bytes, path: str) -> tuple[str, bytes | Taken]:
        """Read the file that a row names instead of holding it."""
        own = [root, *(other for other in self._roots if other is not root)]
        found = resolve(path, own, folder)
        if found is None or not found[0][0].reaches(found[1]):
            return path, Taken(path, error=row_error("outside"))
        (where, *_), key = found
        uri = where.uri(key)
        try:
            facts, data = where.read(key, self._config.max_file_bytes)
        except (FileNotFoundError, NotADirectoryError):
            where.check()
            return uri, Taken(uri, error=row_error("missing"))
        except OSError as error:
            _log.warning("%s: cannot be read: %s", uri, error)
            return uri, Taken(uri, error=row_error("unavailable"))
        if data is None:
            return uri, too_large(uri, facts.size, self._config.max_file_bytes)
        return uri, data


def check_table(schema: pa.Schema, config: ParquetConfig, uri: str) -> None:
    """Refuse a file whose named columns are not there or not what they are named for.

    Raises:
        UsageError: One sentence for the first such column.
    """
    for name, where in config.plain_columns().items():
        check_plain(schema, name, where, uri)
    kind = check_column(schema, config.image_column, "source.image_column", uri)
    fields = {field.name: field.type for field in kind} if pa.types.is_struct(kind) else {}
    in_struct = pa.types.is_binary(fields.get("bytes", pa.null())) and pa.types.is_string(
        fields.get("path", pa.string())
    )
    if not pa.types.is_binary(kind) and not in_struct:
        message = (
            f"{uri}: source.image_column names {config.image_column!r}, which is {kind}; expected "
            "binary, or struct<bytes: binary, path: string>"
        )
        raise UsageError(message)
