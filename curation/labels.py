"""What people say of some images: a small labelled file, joined with what stages say of them."""

import csv
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from curation.dataset import Dataset
from curation.errors import UsageError
from curation.pipeline.instances import Instance

_IMAGE_ID = "image_id"
_SOURCE_KEY = "source_key"
_SOURCE_NAME = "source_name"
KEYS = (_IMAGE_ID, _SOURCE_KEY, _SOURCE_NAME)
"""The columns of a labelled file that say which image is meant; all others are labels."""


@dataclass(frozen=True)
class Labels:
    """A labelled file.

    Attributes:
        path: Where it lies, for messages.
        names: Its columns that are labels.
        rows: Column -> text, for each row; an empty text says nothing.
    """

    path: Path
    names: tuple[str, ...]
    rows: tuple[Mapping[str, str], ...]


@dataclass(frozen=True)
class Labelled:
    """The labelled images that a dataset has.

    Attributes:
        labels: Column -> text, for each image found; of rows with one key the last counts.
        columns: Logical column -> its values for the same images, none of them null.
        num_unknown: Keys of the file that name no image of the dataset.
        num_without: Images that lack a value in one of the columns.
    """

    labels: tuple[Mapping[str, str], ...]
    columns: pa.Table
    num_unknown: int
    num_without: int


def read_labels(path: Path) -> Labels:
    """Read a CSV or Parquet file with `image_id` or `source_key`, and columns of labels.

    Raises:
        UsageError: It cannot be read, names no images, or holds no labels.
    """
    try:
        if path.suffix == ".parquet":
            found = pq.read_table(path).to_pylist()
            rows = [{k: "" if v is None else str(v) for k, v in row.items()} for row in found]
        else:
            with path.open(encoding="utf-8-sig", newline="") as file:
                rows = [
                    {str(k): (v or "").strip() for k, v in row.items()}
                    for row in csv.DictReader(file)
                ]
    except (OSError, UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        message = f"{path}: cannot be read as CSV in UTF-8, nor as Parquet by its ending"
        raise UsageError(message) from error
    names = list(dict.fromkeys(name for row in rows for name in row))
    if _IMAGE_ID not in names and _SOURCE_KEY not in names:
        message = f"{path}: expected a column image_id or source_key that says which image is meant"
        raise UsageError(message)
    if not (given := [name for name in names if name not in KEYS]):
        message = f"{path}: has no column of labels beside {', '.join(names)}"
        raise UsageError(message)
    return Labels(path, tuple(given), tuple(rows))


def find_labelled(
    dataset: Dataset,
    labels: Labels,
    columns: Mapping[str, tuple[Instance, str]],
) -> Labelled:
    """Find the labelled images in a dataset, and read what stages say of them.

    Of an image that was ingested several times the last row counts.

    Args:
        dataset: The dataset.
        labels: The labelled file.
        columns: What to call a column -> the instance that owns it, and its name without prefix.

    Raises:
        UsageError: None of the images is there, or none has values.
    """
    wanted = {_key_of(labels, number): number for number in range(len(labels.rows))}
    places: dict[int, tuple[int, int]] = {}
    for shard in dataset.image_shards():
        table = dataset.read_images(shard, [_IMAGE_ID, _SOURCE_NAME, _SOURCE_KEY])
        ids = table[_IMAGE_ID].to_pylist()
        sources = zip(table[_SOURCE_NAME].to_pylist(), table[_SOURCE_KEY].to_pylist(), strict=True)
        for row, (image_id, (name, key)) in enumerate(zip(ids, sources, strict=True)):
            for candidate in (image_id, (name, key), ("", key)):
                if candidate in wanted:
                    places[wanted[candidate]] = (shard, row)
    if not places:
        message = f"{labels.path}: names no image of {dataset.store.url}; check its keys"
        raise UsageError(message)
    table = _read(dataset, sorted((place, number) for number, place in places.items()), columns)
    if not len(table):
        owners = ", ".join(sorted({instance.name for instance, _ in columns.values()}))
        message = f"{labels.path}: none of its images has values of {owners} yet; run the pipeline"
        raise UsageError(message)
    numbers = table["number"].to_pylist()
    return Labelled(
        tuple(labels.rows[number] for number in numbers),
        table.drop_columns("number"),
        len(wanted) - len(places),
        len(places) - len(table),
    )


def _key_of(labels: Labels, number: int) -> bytes | tuple[str, str]:
    row = labels.rows[number]
    if text := row.get(_IMAGE_ID, ""):
        try:
            return uuid.UUID(text).bytes
        except ValueError as error:
            message = f"{labels.path}, row {number + 1}: {text[:80]!r} is no image_id"
            raise UsageError(message) from error
    if key := row.get(_SOURCE_KEY, ""):
        return row.get(_SOURCE_NAME, ""), key
    message = f"{labels.path}, row {number + 1}: says neither image_id nor source_key"
    raise UsageError(message)


def _read(
    dataset: Dataset,
    places: Sequence[tuple[tuple[int, int], int]],
    columns: Mapping[str, tuple[Instance, str]],
) -> pa.Table:
    """Read the columns at (shard, row); rows with a null are left out, `number` says which stay."""
    parts = []
    owners = {instance.name: instance for instance, _ in columns.values()}
    finished = {n: set(dataset.instance_shards(n, i.fingerprint)) for n, i in owners.items()}
    for shard in sorted({shard for (shard, _), _ in places}):
        here = [(row, number) for (other, row), number in places if other == shard]
        table = pa.table({"number": pa.array([number for _, number in here], pa.int64())})
        for logical, (instance, column) in columns.items():
            disk = f"{instance.name}_{column}"
            if shard not in finished[instance.name]:
                break
            owned = dataset.read_instance(instance.name, instance.fingerprint, shard, [disk])
            table = table.append_column(logical, owned[disk].take(pa.array([r for r, _ in here])))
        else:
            parts.append(table.drop_null())
    empty = pa.table({"number": pa.array([], pa.int64())})
    return pa.concat_tables(parts) if parts else empty
