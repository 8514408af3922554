"""Results of queries as a table, CSV, JSON or Parquet.

DuckDB never writes: results come as Arrow, and what becomes a file is put beside its final name
first and then renamed.
"""

import csv
import json
import math
import os
import sys
import uuid
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

import click
import pyarrow as pa
import pyarrow.parquet as pq

from curation.cli.console import print_table
from curation.duck import Result
from curation.errors import QueryError, StorageError, UsageError

CELL_CHARACTERS = 60
"""Longer values are cut off in a table on the terminal."""


def choose_format(form: str | None, output: Path | None, formats: Sequence[str]) -> str:
    """Return the format asked for, or that of the output file's name.

    Raises:
        UsageError: A table cannot be a file, Parquet cannot be printed, or the name says nothing.
    """
    if output is None:
        if form == "parquet":
            message = "--format parquet: name a file with --output"
            raise UsageError(message)
        return form or "table"
    suffix = output.suffix.removeprefix(".")
    form = form or suffix
    if form not in formats or form == "table":
        message = f"--output {output}: say --format csv, json or parquet"
        raise UsageError(message)
    return form


def print_result(result: Result, form: str, max_rows: int) -> None:
    """Print a result; a table stops after `max_rows` rows and says so."""
    if form == "csv":
        _write_csv(result, sys.stdout)
    elif form == "json":
        _write_json(result, sys.stdout)
    elif result.schema.names == ["explain_key", "explain_value"]:
        for row in result.read().to_pylist():
            click.echo(row["explain_value"])
    else:
        _print_table(result, max_rows)


def write_result(result: Result, form: str, output: Path) -> None:
    """Write a result to a file, whole or not at all.

    Raises:
        UsageError: The file would lie inside a dataset.
        StorageError: It cannot be written.
    """
    target = outside_datasets(output)
    temporary = target.with_name(f".tmp-{uuid.uuid4().hex}")
    try:
        if form == "parquet":
            _write_parquet(result, temporary)
        else:
            with temporary.open("x", encoding="utf-8", newline="") as file:
                (_write_csv if form == "csv" else _write_json)(result, file)
        temporary.replace(target)
    except OSError as error:
        message = f"{output}: cannot be written: {error.strerror or error}; name another file"
        raise StorageError(message) from error
    finally:
        temporary.unlink(missing_ok=True)


def outside_datasets(output: Path) -> Path:
    """Return the real path of `output`.

    Raises:
        UsageError: A folder above it is a dataset: files there belong to stages and snapshots.
    """
    target = Path(os.path.realpath(output))
    for folder in target.parents:
        if (folder / "dataset.json").exists():
            message = f"{output}: {folder} is a dataset; name a file outside it"
            raise UsageError(message)
    return target


def json_value(value: Any) -> Any:
    """Return what stands for an Arrow value in JSON.

    Bytes are hexadecimal, whole decimals numbers, and NaN and infinity, which JSON lacks, null.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, dict):
        return {key: json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return [json_value(item) for item in value]
    return str(value)


def text_value(value: Any) -> str:
    """Return a value as text for a cell; null is empty."""
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict | list):
        return json.dumps(json_value(value), ensure_ascii=False)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(json_value(value))


def _rows(result: Result) -> Iterator[list[Any]]:
    for batch in result.batches():
        # By place, not by name: two columns of a result may have the same name.
        columns = [column.to_pylist() for column in batch.columns]
        for values in zip(*columns, strict=True):
            yield list(values)


def _write_csv(result: Result, file: TextIO) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(result.schema.names)
    for row in _rows(result):
        writer.writerow([text_value(value) for value in row])


def _write_json(result: Result, file: TextIO) -> None:
    """Write one array with an object a line."""
    names = result.schema.names
    separator = "[\n"
    for row in _rows(result):
        content = {name: json_value(value) for name, value in zip(names, row, strict=True)}
        text = json.dumps(content, ensure_ascii=False, allow_nan=False)
        file.write(f"{separator}{text}")
        separator = ",\n"
    file.write("[]\n" if separator == "[\n" else "\n]\n")


def _write_parquet(result: Result, path: Path) -> None:
    try:
        with pq.ParquetWriter(path, result.schema, compression="zstd") as writer:
            for batch in result.batches():
                writer.write_batch(batch)
    except pa.ArrowNotImplementedError as error:
        message = f"a column cannot be written as Parquet ({error}); cast it in the query"
        raise QueryError(message) from error


def _print_table(result: Result, max_rows: int) -> None:
    shown: list[list[str]] = []
    more = False
    for row in _rows(result):
        if len(shown) == max_rows:
            more = True
            break
        shown.append([_cell(value) for value in row])
    numeric = [f.name for f in result.schema if _is_number(f.type)]
    print_table(result.schema.names, shown, right=numeric)
    if more:
        click.echo(f"only the first {max_rows} rows are shown; --format csv prints all", err=True)


def _cell(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else text_value(value)
    return text if len(text) <= CELL_CHARACTERS else f"{text[: CELL_CHARACTERS - 1]}…"


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )
