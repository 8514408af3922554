"""JSONL, CSV, Parquet and text lists, row by row, with the line in every refusal.

A line that cannot be read has no path, so it could be no row with an error: it refuses the list,
before anything is frozen.
"""

import csv
import json
from collections.abc import Iterator, Mapping
from typing import IO, Any

from curation.errors import ConfigError, UsageError
from curation.ingest.foreign import TableError, check_plain, open_table, to_rows
from curation.ingest.roots import Root
from curation.ingest.texts import to_json

MAX_LINE_BYTES = 16 << 20
"""Longest line of a list that is read."""

Row = tuple[int, Mapping[str, Any]]
"""Line, from 1 (row, in Parquet), and the values by column."""

_DELIMITERS = {"csv": ",", "tsv": "\t"}
_ENDINGS = ("jsonl", "ndjson", "csv", "tsv", "parquet")
_TEXT = "txt"

ENDINGS = (*_ENDINGS, _TEXT)
"""Endings of files that `read_rows` reads; a text file has one column, a value a line."""


def list_ending(url: str) -> str:
    """Return the format of a list with columns.

    Raises:
        ConfigError: Its name does not tell.
    """
    ending = url.rpartition(".")[2].lower()
    if ending not in _ENDINGS:
        message = (
            f"source.lists: {url}: the format is not known from the name; expected one of "
            f"{', '.join('.' + known for known in _ENDINGS)}"
        )
        raise ConfigError(message)
    return ending


def read_rows(root: Root, key: bytes, columns: Mapping[str, str]) -> Iterator[Row]:
    """Read a list.

    Args:
        columns: Columns that must be there -> the key of the pipeline file that names each.

    Raises:
        UsageError: It cannot be read, or a line is malformed.
    """
    uri = root.uri(key)
    ending = _TEXT if uri.lower().endswith(f".{_TEXT}") else list_ending(uri)
    try:
        if ending == "parquet":
            yield from _read_parquet(root, key, columns)
            return
        with root.open(key) as (_, file):
            yield from read_lines(file, uri, ending, columns)
    except FileNotFoundError as error:
        message = f"{uri}: no such list; correct source.lists"
        raise UsageError(message) from error
    except OSError as error:
        message = f"{uri}: the list cannot be read ({error.strerror or error})"
        raise UsageError(message) from error


def read_lines(file: IO[bytes], uri: str, ending: str, columns: Mapping[str, str]) -> Iterator[Row]:
    """Read an open list that is text.

    Args:
        file: The list.
        uri: Names it in refusals.
        ending: One of `ENDINGS` but `parquet`.
        columns: As in `read_rows`.

    Raises:
        UsageError: A line is malformed.
    """
    lines = _Lines(file, uri)
    if ending in _DELIMITERS:
        yield from _read_csv(lines, _DELIMITERS[ending], columns)
    elif ending == _TEXT:
        yield from _read_text(lines, columns)
    else:
        yield from _read_jsonl(lines)


class _Lines:
    """The lines of a text file, and where the reader stands."""

    def __init__(self, file: IO[bytes], uri: str) -> None:
        self._file = file
        self._uri = uri
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        while data := self._file.readline(MAX_LINE_BYTES + 1):
            self.number += 1
            if len(data) > MAX_LINE_BYTES:
                self.refuse(f"longer than {MAX_LINE_BYTES} bytes")
            try:
                yield data.decode("utf-8-sig" if self.number == 1 else "utf-8")
            except UnicodeDecodeError:
                self.refuse("not UTF-8")

    def refuse(self, found: str) -> None:
        """Raise a sentence with file and line."""
        message = f"{self._uri}, line {self.number}: {found}; correct the list and run again"
        raise UsageError(message)


def _read_jsonl(lines: _Lines) -> Iterator[Row]:
    for text in lines:
        if not text.strip():
            continue
        try:
            value = json.loads(text, parse_constant=lambda name: None)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            lines.refuse("no JSON object")
        yield lines.number, value


def _read_text(lines: _Lines, columns: Mapping[str, str]) -> Iterator[Row]:
    if len(columns) != 1:
        lines.refuse(f"a text list has one column, expected {', '.join(columns)}")
    (name,) = columns
    for text in lines:
        if value := text.strip():
            yield lines.number, {name: value}


def _read_csv(lines: _Lines, delimiter: str, columns: Mapping[str, str]) -> Iterator[Row]:
    csv.field_size_limit(MAX_LINE_BYTES)  # of the whole process: 128 KiB unless somebody says so
    reader = csv.reader(iter(lines), delimiter=delimiter, strict=True)
    header: list[str] = []
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            lines.refuse(f"malformed ({error})")
            return
        if fields is None:
            return
        if not fields:
            continue
        if not header:
            header = fields
            if len(set(header)) != len(header):
                lines.refuse("the header names a column twice")
            for name, where in columns.items():
                if name not in header:
                    lines.refuse(f"{where} names {name!r}, and the header does not")
        elif len(fields) != len(header):
            lines.refuse(f"{len(fields)} fields, and the header has {len(header)}")
        else:
            yield lines.number, dict(zip(header, fields, strict=True))


def _read_parquet(root: Root, key: bytes, columns: Mapping[str, str]) -> Iterator[Row]:
    uri = root.uri(key)
    try:
        with open_table(root, key) as (_, table):
            names = list(dict.fromkeys([*columns, *table.schema.names]))
            for name in names:
                check_plain(table.schema, name, columns.get(name, "source.lists"), uri)
            row = 0
            for batch in table.batches(names, range(len(table.group_rows))):
                for values in to_rows(batch):
                    row += 1
                    yield row, values
    except TableError as error:
        message = f"{uri}: cannot be read as Parquet ({error.code}); make the list again"
        raise UsageError(message) from error


def metadata_of(
    values: Mapping[str, Any], aside: set[str], wanted: tuple[str, ...] | None
) -> str | None:
    """Return the columns that are kept as they are, as a JSON object."""
    names = [name for name in values if name not in aside] if wanted is None else wanted
    return to_json({name: values.get(name) for name in names})
