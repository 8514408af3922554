"""What a report is about: a dataset, perhaps a snapshot, and SQL over both."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curation import duck
from curation.dataset import Dataset
from curation.inventory import applied_instances, applied_pipelines
from curation.pipeline.config import PipelineConfig
from curation.pipeline.instances import Instance, Registry
from curation.snapshot.manifest import SnapshotManifest
from curation.snapshot.read import find_snapshot, list_snapshots, read_manifest
from curation.sql import Tables, open_tables

_ROLE_COLUMNS = {
    ("inspect", "width"): "width",
    ("inspect", "height"): "height",
    ("aesthetic", "score"): "aesthetic_score",
    ("categorize", "path"): "category_path",
    ("dedup", "group"): "dedup_group",
}
"""(stage, column) -> what a manifest calls it, where it names the column on disk."""


@dataclass(frozen=True)
class Source:
    """An opened dataset and the snapshot that the report is about.

    Attributes:
        dataset: The dataset.
        manifest: The snapshot's manifest; null for a report without decisions.
        pipeline: The pipeline whose instances are shown; null where none was applied.
        instances: Its instances.
        tables: What SQL sees of them.
    """

    dataset: Dataset
    manifest: SnapshotManifest | None
    pipeline: PipelineConfig | None
    instances: tuple[Instance, ...]
    tables: Tables

    @property
    def scope(self) -> str:
        """FROM and WHERE over the rows `r` reported on; with a snapshot, its decisions `d` too.

        Rows that were never taken in have decisions only: all of `r` is null there.
        """
        if self.manifest is None:
            return "FROM rows AS r WHERE true"
        snapshot = duck.text_literal(self.manifest.id)
        return (
            "FROM decisions AS d LEFT JOIN rows AS r ON r.shard = d.shard AND r.row = d.row "
            f"WHERE d.snapshot_id = {snapshot}"
        )

    @property
    def decided(self) -> str:
        """FROM and WHERE over the snapshot's decisions alone."""
        assert self.manifest is not None, "a report without decisions asks for them"
        return f"FROM decisions AS d WHERE d.snapshot_id = {duck.text_literal(self.manifest.id)}"

    @property
    def kept(self) -> str:
        """SQL that says whether a row of `scope` is in the snapshot."""
        return "false" if self.manifest is None else "d.kept"

    def has(self, column: str) -> bool:
        """Say whether the wide table has a column."""
        return column in self.tables.tables["rows"].schema.names

    def column(self, stage: str, name: str) -> str | None:
        """Return the column on disk of a stage's `name`, of the instance that the snapshot used.

        Without a snapshot, or where it did not look: of the first instance of the stage.
        """
        role = _ROLE_COLUMNS.get((stage, name))
        if role is not None and self.manifest is not None and role in self.manifest.columns:
            found = self.manifest.columns[role]
            return found if self.has(found) else None
        for instance in self.instances:
            column = f"{instance.name}_{name}"
            if instance.stage_type.name == stage and self.has(column):
                return column
        return None

    def ask(self, text: str) -> list[dict[str, Any]]:
        """Run a query with a small answer."""
        rows: list[dict[str, Any]] = self.table(text).to_pylist()
        return rows

    def table(self, text: str) -> pa.Table:
        """Run a query with an answer of many rows that fits into memory."""
        with self.tables.query(text) as result:
            return result.read()

    def stream(self, text: str) -> Iterator[pa.RecordBatch]:
        """Run a query with a large answer, a batch at a time."""
        with self.tables.query(text) as result:
            yield from result.batches()


def open_source(dataset: Dataset, snapshot: str | None, registry: Registry) -> Source:
    """Open what a report is about.

    Args:
        dataset: The dataset.
        snapshot: The beginning of a snapshot's id; null for the latest, or none where there is
            none.
        registry: The stages that exist.

    Raises:
        SnapshotError: No snapshot begins so, or several do.
        UsageError: The pipeline that made the snapshot is not in the dataset.
    """
    manifest = None
    if snapshot is not None:
        manifest = read_manifest(dataset, find_snapshot(dataset, snapshot))
    elif published := list_snapshots(dataset):
        manifest = published[-1]
    pipelines = applied_pipelines(dataset)
    name = manifest.pipeline if manifest is not None else _latest_pipeline(dataset, pipelines)
    config = None if name is None else pipelines.get(name)
    tables = open_tables(dataset, registry, name)
    instances = () if config is None else applied_instances(dataset, config, registry)
    return Source(dataset, manifest, config, instances, tables)


def _latest_pipeline(dataset: Dataset, pipelines: dict[str, PipelineConfig]) -> str | None:
    """Return the pipeline of the latest run that is still there, else the first by name."""
    for file in reversed(dataset.store.names("runs")):
        name = json.loads(dataset.store.read(f"runs/{file}")).get("pipeline")
        if name in pipelines:
            return str(name)
    return next(iter(sorted(pipelines)), None)
