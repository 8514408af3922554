"""A dataset: its `dataset.json`, its shards, and the files of its stages.

Everything is found by listing; there is no other state. A listing is made once for each
`Dataset.listing()`, so one plan sees one state.
"""

import json
import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.config import Config, validate
from curation.errors import DatasetError
from curation.fingerprint import pretty_json
from curation.shard_files import ShardFiles
from curation.storage import Store
from curation.tables import from_parquet
from schemas import dataset as paths
from schemas.ingest_list import INGEST_LIST

_LIST = re.compile(r"list-(\d{8})\.parquet$")
_LIST_SHARD = INGEST_LIST.get_field_index("shard")


class DatasetInfo(Config):
    """The content of `dataset.json`."""

    format: str = paths.FORMAT
    layout: int = paths.LAYOUT
    dataset_id: str
    max_shard_rows: int = paths.MAX_SHARD_ROWS
    max_shard_bytes: int = paths.MAX_SHARD_BYTES


@dataclass(frozen=True)
class IngestState:
    """One ingest as found on disk.

    Attributes:
        seq: Its number, from 0.
        lists: Numbers of its frozen lists, from 0 without gaps; the last of an ended listing is
            empty.
        done: Content of `done.json`; null while listing has not ended.
    """

    seq: int
    lists: tuple[int, ...]
    done: dict[str, Any] | None


class Dataset:
    """An opened dataset.

    Attributes:
        store: Where it lies.
        info: The content of `dataset.json`.
        files: Its shards as files; every reader and rewriter of a stage's shards goes through it.
    """

    def __init__(self, store: Store, info: DatasetInfo) -> None:
        self.store = store
        self.files = ShardFiles(store)
        self.info = info

    @classmethod
    def open(cls, url: str) -> "Dataset":
        """Open an existing dataset.

        Raises:
            DatasetError: No dataset there, or one of a newer layout.
            ConfigError: `dataset.json` has keys or values that it should not have.
        """
        store = Store(url)
        try:
            raw = json.loads(store.read(paths.DESCRIPTION))
        except FileNotFoundError as error:
            message = (
                f"{store.url}: no dataset here (dataset.json is missing); "
                "make one with `longtail run PIPELINE.yaml`"
            )
            raise DatasetError(message) from error
        except ValueError as error:
            message = f"{store.url}/dataset.json: not JSON; restore the file"
            raise DatasetError(message) from error
        found = raw.get("layout") if isinstance(raw, dict) else None
        if not isinstance(found, int) or raw.get("format") != paths.FORMAT:
            message = f"{store.url}/dataset.json: not the description of a dataset"
            raise DatasetError(message)
        if found > paths.LAYOUT:
            message = (
                f"{store.url}: written in layout {found}, this version reads up to layout "
                f"{paths.LAYOUT}; install a newer longtail"
            )
            raise DatasetError(message)
        return cls(store, validate(DatasetInfo, raw, f"{store.url}/dataset.json"))

    @classmethod
    def open_or_create(
        cls,
        url: str,
        *,
        max_shard_rows: int = paths.MAX_SHARD_ROWS,
        max_shard_bytes: int = paths.MAX_SHARD_BYTES,
    ) -> "Dataset":
        """Open a dataset, or make an empty one where nothing is.

        For runs: temporary files that killed writers left behind go as their folders are listed.
        The shard limits matter only when the dataset is made: an existing one keeps its own.

        Raises:
            DatasetError: As `open`; also where the folder has other content.
            StorageError: The place cannot be written.
        """
        store = Store(url)
        if not store.exists(paths.DESCRIPTION):
            if names := store.names(""):
                message = (
                    f"{store.url}: holds {names[0]!r} but no dataset.json; "
                    "name an empty or a new folder for the dataset"
                )
                raise DatasetError(message)
            info = DatasetInfo(
                dataset_id=str(uuid.uuid4()),
                max_shard_rows=max_shard_rows,
                max_shard_bytes=max_shard_bytes,
            )
            store.create(paths.DESCRIPTION, pretty_json(info.model_dump()))
        dataset = cls.open(url)
        dataset.store.sweeps = True
        return dataset

    # Shards ----------------------------------------------------------------------------------

    def stage_folders(self) -> Iterator[tuple[str, str]]:
        """Yield (instance, fingerprint) of every configured stage that any pipeline ever had."""
        for name in self.store.names(""):
            if name not in paths.RESERVED_NAMES and "." not in name:
                for fingerprint in self.store.names(name):
                    yield name, fingerprint

    def image_shards(self) -> list[int]:
        """Return the numbers of the image shards that exist."""
        return self.files.shards(paths.IMAGES)

    def instance_shards(self, instance: str, fingerprint: str) -> list[int]:
        """Return the numbers of the shards that a configured stage has finished."""
        return self.files.shards(paths.instance_folder(instance, fingerprint))

    def read_images(self, shard: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Read columns of an image shard; name them unless the bytes are wanted too."""
        return self.files.read(paths.IMAGES, shard, columns)

    def read_instance(
        self, instance: str, fingerprint: str, shard: int, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Read columns, by their names on disk, of a stage's file for one shard."""
        return self.files.read(paths.instance_folder(instance, fingerprint), shard, columns)

    # Ingests ---------------------------------------------------------------------------------

    def ingests(self) -> list[IngestState]:
        """Return every ingest in order; all but the last are done."""
        states = []
        for name in self.store.names("ingest"):
            files = self.store.names(f"ingest/{name}")
            lists = tuple(int(match[1]) for file in files if (match := _LIST.search(file)))
            done = None
            if "done.json" in files:
                done = dict(json.loads(self.store.read(f"ingest/{name}/done.json")))
            if lists or done is not None:
                states.append(IngestState(int(name), lists, done))
        return states

    def read_list(self, seq: int, number: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Read one frozen list of an ingest; columns that it is older than are null."""
        wanted = INGEST_LIST.names if columns is None else list(columns)
        with self.store.open(paths.list_path(seq, number)) as file:
            found = set(pq.read_schema(file).names)
            table = from_parquet(file, [name for name in wanted if name in found])
        arrays = [
            table[name] if name in found else pa.nulls(len(table), INGEST_LIST.field(name).type)
            for name in wanted
        ]
        schema = pa.schema([INGEST_LIST.field(name) for name in wanted], INGEST_LIST.metadata)
        return pa.Table.from_arrays(arrays, schema=schema)

    def list_shards(self, seq: int, number: int) -> range:
        """Return the shards that one frozen list promises; reads its footer only."""
        with self.store.open(paths.list_path(seq, number)) as file:
            metadata = pq.ParquetFile(file).metadata
        bounds = []
        for group in range(metadata.num_row_groups):
            column = metadata.row_group(group).column(_LIST_SHARD)
            assert column.path_in_schema == "shard", column.path_in_schema
            if column.num_values and column.statistics.has_min_max:  # else all are null: vanished
                bounds += [column.statistics.min, column.statistics.max]
        return range(min(bounds), max(bounds) + 1) if bounds else range(0)

    def listed_shards(self) -> dict[int, tuple[int, int]]:
        """Return shard -> (seq, list) for every shard that a frozen list promises."""
        found: dict[int, tuple[int, int]] = {}
        for state in self.ingests():
            for number in state.lists:
                for shard in self.list_shards(state.seq, number):
                    found[shard] = (state.seq, number)
        return found
