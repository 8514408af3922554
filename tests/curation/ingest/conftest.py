"""A small lake, a dataset with tiny shards, and a driver in a few lines."""

import os
import uuid
from pathlib import Path
from typing import Any

import fsspec
import pytest

from curation.dataset import Dataset
from curation.ingest.config import SourceConfig
from curation.ingest.folder import FolderConfig
from curation.ingest.make_shard import make_image_shard
from curation.ingest.tombstones import Tombstones, read_tombstones
from curation.ingest.work_list import freeze_lists, pending_shards, shard_rows
from curation.tables import to_parquet
from schemas.dataset import images_path

TIME_NS = 1_700_000_000_000_000_000


@pytest.fixture
def lake(tmp_path):
    folder = tmp_path / "lake"
    folder.mkdir()
    return folder


@pytest.fixture
def write():
    """Write files below a folder; each has the same time unless another is given."""

    def write_files(folder: Path, files: dict[bytes, bytes], time_ns: int = TIME_NS) -> None:
        for key, data in files.items():
            path = folder / os.fsdecode(key)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            os.utime(path, ns=(time_ns, time_ns))

    return write_files


@pytest.fixture
def dataset(tmp_path):
    return Dataset.open_or_create(str(tmp_path / "dataset"), max_shard_rows=3)


@pytest.fixture
def source(lake):
    return FolderConfig(name="lake", roots=(str(lake),), list_shards=2)


@pytest.fixture
def make_shards():
    """Make every shard that is listed and missing; return their numbers."""

    def make(dataset: Dataset, source: FolderConfig) -> list[int]:
        pending = pending_shards(dataset)
        for shard, (seq, number) in pending.items():
            rows = shard_rows(dataset, shard, seq, number)
            table = make_image_shard(rows, source, read_tombstones(dataset))
            dataset.store.put(images_path(shard), to_parquet(table))
        return list(pending)

    return make


@pytest.fixture
def ingest(make_shards):
    """Run one ingest to its end; return the shards that it made."""

    def run(dataset: Dataset, source: FolderConfig) -> list[int]:
        for _ in freeze_lists(dataset, source):
            pass
        return make_shards(dataset, source)

    return run


@pytest.fixture
def lines():
    """Return the (key, change) lines of an ingest, list by list."""

    def read(dataset: Dataset, seq: int) -> list[list[tuple[str, str]]]:
        state = next(state for state in dataset.ingests() if state.seq == seq)
        tables = [dataset.read_list(seq, number, ["key", "change"]) for number in state.lists]
        return [[(row["key"], row["change"]) for row in table.to_pylist()] for table in tables]

    return read


@pytest.fixture
def memory():
    """The memory file system, empty before and after."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


@pytest.fixture
def rows_of(tmp_path):
    """Ingest a source into a dataset of its own; return its rows, in order."""

    def rows(config: SourceConfig) -> list[dict[str, Any]]:
        dataset = Dataset.open_or_create(str(tmp_path / f"rows-{uuid.uuid4().hex}"))
        found = []
        for frozen in freeze_lists(dataset, config):
            for shard in frozen.shards:
                lines = shard_rows(dataset, shard, frozen.seq, frozen.number)
                found += make_image_shard(lines, config, Tombstones()).to_pylist()
        return found

    return rows
