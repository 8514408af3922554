"""A table of preferences, as people bring it: JSONL, CSV, TSV or Parquet.

    prompt                   what was asked for
    winner, loser            image_ids: UUIDs, 32 hexadecimal digits, or in Parquet 16 bytes
    winner_key, loser_key    or instead the keys of the images in their source
    source                   who or what prefers it; may be left out
    margin                   by how much, at least 0; may be left out
    pair_id                  an id of one's own, written as image_ids are; may be left out

Other columns are left alone. A row that cannot be read refuses the table: what is dropped silently
here is missed nowhere.
"""

import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa

from curation.config import nearest
from curation.errors import SnapshotError
from curation.ingest.config import absolute
from curation.ingest.foreign import ForeignTable, TableError, to_rows
from curation.ingest.rows_of_lists import read_lines
from curation.storage import Store

REQUIRED = ("prompt", "winner", "loser")
OPTIONAL = ("source", "margin", "pair_id")
KEYS = {"winner": "winner_key", "loser": "loser_key"}
"""Column of an image_id -> the column that may name the image by its key instead."""

_ENDINGS = ("jsonl", "ndjson", "csv", "tsv", "parquet")

Image = bytes | str
"""An image_id, or a key."""


@dataclass(frozen=True, slots=True)
class StatedPair:
    """A row of a table of preferences.

    Attributes:
        where: File and row.
        prompt: Without white space at its ends; may be empty.
        winner: The image that is preferred.
        loser: The other one.
        source: Null where nobody said.
        margin: At least 0; null where nobody said.
        pair_id: 16 bytes; null where the table has none.
    """

    where: tuple[str, int]
    prompt: str
    winner: Image
    loser: Image
    source: str | None
    margin: float | None
    pair_id: bytes | None


def read_preference_table(url: str) -> list[StatedPair]:
    """Read a table of preferences whole.

    Args:
        url: A file, or a folder of Parquet files.

    Raises:
        SnapshotError: Nothing is there, a column is missing, or a value is malformed; says in which
            row.
        UsageError: A file of text is malformed.
    """
    found = [pair for store, name in _files(url) for pair in _read(store, name)]
    if not found:
        message = f"{url}: no pair is in the table; leave --preferences out"
        raise SnapshotError(message)
    return found


def say(where: tuple[str, int]) -> str:
    """Return file and row as a message begins."""
    return f"{where[0]}, row {where[1]}"


def _files(url: str) -> list[tuple[Store, str]]:
    whole = Store(absolute(url))
    if not whole.exists(""):
        message = f"{whole.url}: there is no such table of preferences"
        raise SnapshotError(message)
    if whole.fs.isdir(whole.root):
        files = [(whole, file) for file in whole.files("") if _ending(file) == "parquet"]
        if not files:
            message = f"{whole.url}: the folder has no .parquet file; name a table of preferences"
            raise SnapshotError(message)
        return files
    folder, _, name = absolute(url).rpartition("/")
    if _ending(name) not in _ENDINGS:
        message = (
            f"{whole.url}: the format is not known from the name; expected "
            f"{', '.join('.' + known for known in _ENDINGS)}, or a folder of Parquet files"
        )
        raise SnapshotError(message)
    return [(Store(folder or "/"), name)]


def _ending(name: str) -> str:
    return name.rpartition(".")[2].lower()


def _read(store: Store, name: str) -> Iterator[StatedPair]:
    uri, ending = store.uri(name), _ending(name)
    with store.open(name) as file:
        if ending == "parquet":
            yield from _read_parquet(file, uri)
            return
        named: tuple[str, ...] | None = None
        for line, values in read_lines(file, uri, ending, {}):
            if named is None:
                named = _named(list(values), uri)
            elif ending in ("jsonl", "ndjson"):
                _named(list(values), f"{uri}, row {line}")
            yield _pair(values, (uri, line))


def _read_parquet(file: IO[bytes], uri: str) -> Iterator[StatedPair]:
    try:
        table = ForeignTable(file)
        columns = _named(table.schema.names, uri)
        for column in columns:
            _check_type(table.schema.field(column), uri)
        row = 0
        for batch in table.batches(columns, range(len(table.group_rows))):
            for values in to_rows(batch):
                row += 1
                yield _pair(values, (uri, row))
    except TableError as error:
        message = f"{uri}: cannot be read as Parquet ({error.code}); make the table again"
        raise SnapshotError(message) from error


def _named(columns: Sequence[str], where: str) -> tuple[str, ...]:
    """Return the columns that count; refuse a table that lacks one or has one twice."""
    found = []
    for name in REQUIRED:
        choices = [c for c in (name, KEYS.get(name)) if c is not None and c in columns]
        if not choices:
            other = f" or {KEYS[name]!r}" if name in KEYS else ""
            message = f"{where}: there is no {name!r}{other}{nearest(name, list(columns))}"
            raise SnapshotError(message)
        if len(choices) > 1:
            message = f"{where}: has both {choices[0]!r} and {choices[1]!r}; keep one of them"
            raise SnapshotError(message)
        found += choices
    found += [name for name in OPTIONAL if name in columns]
    if twice := [name for name in found if list(columns).count(name) > 1]:
        message = f"{where}: has several columns {twice[0]!r}; keep one of them"
        raise SnapshotError(message)
    return tuple(found)


def _check_type(field: pa.Field, uri: str) -> None:
    kind, name = field.type, field.name
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    is_id = name in ("winner", "loser", "pair_id") and (
        pa.types.is_fixed_size_binary(kind) or pa.types.is_binary(kind)
    )
    is_number = name == "margin" and (pa.types.is_floating(kind) or pa.types.is_integer(kind))
    if not (is_text or is_id or is_number or pa.types.is_null(kind)):
        message = f"{uri}: the column {name!r} is {kind}; expected text"
        raise SnapshotError(message)


def _pair(values: Mapping[str, Any], where: tuple[str, int]) -> StatedPair:
    prompt = values.get("prompt")
    if prompt is None:
        prompt = ""
    return StatedPair(
        where,
        _text(prompt, "prompt", where).strip(),
        _image(values, "winner", where),
        _image(values, "loser", where),
        _text(values.get("source") or "", "source", where).strip() or None,
        _margin(values.get("margin"), where),
        _optional_id(values.get("pair_id"), where),
    )


def _text(value: Any, name: str, where: tuple[str, int]) -> str:
    if not isinstance(value, str):
        message = f"{say(where)}: {name} is {value!r}; expected text"
        raise SnapshotError(message)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        message = f"{say(where)}: {name} has half a character in it (a lone surrogate)"
        raise SnapshotError(message) from error
    return value


def _image(values: Mapping[str, Any], name: str, where: tuple[str, int]) -> Image:
    key = values.get(KEYS[name])
    if key is not None and key != "":
        return _text(key, KEYS[name], where)
    value = values.get(name)
    if value is None or value == "":
        message = f"{say(where)}: says no {name}"
        raise SnapshotError(message)
    return _id(value, name, where)


def _optional_id(value: Any, where: tuple[str, int]) -> bytes | None:
    return None if value is None or value == "" else _id(value, "pair_id", where)


def _id(value: Any, name: str, where: tuple[str, int]) -> bytes:
    if isinstance(value, bytes) and len(value) == 16:
        return value
    if isinstance(value, str):
        digits = value.strip()
        if len(digits) in (32, 36):
            try:
                return uuid.UUID(digits).bytes
            except ValueError:
                pass  # said below
    shown = value if isinstance(value, str) else repr(value)
    message = (
        f"{say(where)}: {name} {shown[:80]!r} is no id; expected a UUID, 32 hexadecimal digits or "
        "16 bytes"
    )
    raise SnapshotError(message)


def _margin(value: Any, where: tuple[str, int]) -> float | None:
    if value is None or value == "":
        return None
    number = math.nan
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            pass  # said below
    if not 0 <= number < math.inf:
        message = (
            f"{say(where)}: margin is {value!r}; expected a number from 0 on, how much better the "
            "winner is"
        )
        raise SnapshotError(message)
    return abs(number)  # -0.0 is 0.0
