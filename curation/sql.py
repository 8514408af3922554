"""The tables that a user's SQL sees, and how they read the dataset's files.

    images       what ingest knows of every file, without the bytes
    <instance>   one table for each configured stage
    rows         images and all instances side by side, one row for each image row
    decisions    what every snapshot decided on every row
    preferences  what snapshots decided on pairs of preferred images, where one has any
    snapshots    one row for each snapshot

Every table is an explicit list of files, never a pattern: what is listed is complete, and nothing
else can be read. `rows` joins by (shard, row), which costs 2.5 times a positional join and stays
right where an instance lacks shards (its columns are null there); instances of which a statement
names no column are left out of the join.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads

from curation import duck
from curation.confine import Uses
from curation.dataset import Dataset
from curation.fingerprint import canonical_json
from curation.inventory import applied_instances, choose_pipeline
from curation.pipeline.blocks import Block, current_blocks, shard_set
from curation.pipeline.config import PipelineConfig
from curation.pipeline.instances import Instance, Registry
from curation.pipeline.relation import read_facts
from curation.snapshot.manifest import SnapshotManifest
from curation.snapshot.read import list_snapshots
from schemas import dataset as layout
from schemas.columns import IDENTITY, column, is_bulk, table
from schemas.decisions import DECISIONS
from schemas.images import IMAGES
from schemas.preferences import PREFERENCES

SNAPSHOTS = table(
    "snapshots",
    column("snapshot_id", pa.string(), "Hash of the snapshot's content."),
    column("created_at", pa.string(), "When it was made, UTC."),
    column("pipeline", pa.string(), "The pipeline whose `snapshot:` section made it."),
    column("num_rows", pa.int64(), "Rows that it decided on."),
    column("num_kept", pa.int64(), "Rows that it kept."),
    column("manifest", pa.string(), "The whole manifest, as JSON."),
)
_SNAPSHOT_ID = column("snapshot_id", pa.string(), "The snapshot that decided this.")
_KEY = [f.name for f in IDENTITY]
_PATTERN = frozenset("*?[]{}")


@dataclass(frozen=True)
class Part:
    """Some files with the same columns.

    Attributes:
        files: Paths below the dataset.
        constants: Further columns, the same for every row of these files.
    """

    files: tuple[str, ...]
    constants: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """One table as a user's SQL sees it.

    Attributes:
        name: Its name.
        doc: What it holds, in a line.
        schema: Its columns; their metadata describes them.
        parts: Where its rows are; none for an empty table.
        rows: The rows themselves, for a table that is no file.
        joined: For the wide table: the tables whose columns are put beside `parts`.
    """

    name: str
    doc: str
    schema: pa.Schema
    parts: tuple[Part, ...] = ()
    rows: pa.Table | None = None
    joined: tuple["Table", ...] = ()


@dataclass(frozen=True)
class Tables:
    """Everything that a user can ask a dataset.

    Attributes:
        dataset: The dataset.
        pipeline: Whose instances these are; empty where no pipeline was applied.
        tables: Name -> table.
    """

    dataset: Dataset
    pipeline: str
    tables: Mapping[str, Table]

    @contextmanager
    def query(
        self, text: str, *, memory_limit_bytes: int | None = None, threads: int | None = None
    ) -> Iterator[duck.Result]:
        """Run one SELECT or EXPLAIN, confined to these tables.

        Raises:
            QueryError: The statement is refused or wrong; nothing was changed.
        """
        statement = duck.parse(text, list(self.tables))
        scans = _Scans(self.dataset)
        views = {
            name: _view(scans, self.tables[name], statement.uses)
            for name in sorted(statement.uses.tables)
        }
        known = {name for entry in self.tables.values() for name in entry.schema.names}
        with duck.confined(
            statement,
            views=views,
            files=scans.files,
            sources=scans.sources,
            known=known,
            memory_limit_bytes=memory_limit_bytes,
            threads=threads,
        ) as result:
            yield result


def open_tables(dataset: Dataset, registry: Registry, pipeline: str | None = None) -> Tables:
    """Return the tables of a dataset, as its files are now.

    Args:
        dataset: The dataset.
        registry: The stages that exist.
        pipeline: Whose instances to offer; null for the only one applied.

    Raises:
        UsageError: No such pipeline, or several to choose from.
    """
    config = choose_pipeline(dataset, pipeline)
    instances = _instance_tables(dataset, config, registry) if config else []
    images = _images(dataset)
    manifests = list_snapshots(dataset)
    found = [images, _wide(images, instances), *instances]
    found.append(_decisions(manifests))
    if any(manifest.preferences is not None for manifest in manifests):
        found.append(_preferences(manifests))
    found.append(_snapshots(manifests))
    return Tables(dataset, config.name if config else "", {t.name: t for t in found})


def describe(entry: Table) -> list[dict[str, str]]:
    """Return name, type, unit, version and meaning of every column of a table."""
    described = []
    for column_field in entry.schema:
        facts = {k.decode(): v.decode() for k, v in (column_field.metadata or {}).items()}
        described.append(
            {
                "column": column_field.name,
                "type": facts.get("logical") or _type_name(column_field.type),
                "unit": facts.get("unit", ""),
                "version": facts.get("version", ""),
                "meaning": facts.get("doc", ""),
            }
        )
    return described


def _type_name(kind: pa.DataType) -> str:
    return "binary" if pa.types.is_fixed_size_binary(kind) else str(kind)


# What there is -------------------------------------------------------------------------------


def _images(dataset: Dataset) -> Table:
    schema = pa.schema([f for f in IMAGES if f.name != "image_bytes"])
    files = tuple(layout.images_path(shard) for shard in dataset.image_shards())
    doc = f"what ingest knows of every file; {len(files)} shards"
    return Table(layout.IMAGES, doc, schema, _parts(files))


def _instance_tables(dataset: Dataset, config: PipelineConfig, registry: Registry) -> list[Table]:
    instances = applied_instances(dataset, config, registry)
    by_name = {instance.name: instance for instance in instances}
    return [_instance_table(dataset, instance, by_name) for instance in instances]


def _instance_table(
    dataset: Dataset, instance: Instance, instances: Mapping[str, Instance]
) -> Table:
    name, schema = instance.name, instance.disk_schema()
    if not instance.is_ready:
        return Table(name, f"stage {instance.stage_type.name}; waits for a fit", schema)
    if instance.is_relation:
        files, note = _relation_files(dataset, instance, instances)
    else:
        shards = dataset.instance_shards(name, instance.fingerprint)
        folder = layout.instance_folder(name, instance.fingerprint)
        files = dataset.files.files(folder, shards)
        missing = len(set(dataset.image_shards()) - set(shards))
        note = f"{len(shards)} shards" + (f", {missing} missing" if missing else "")
    shown = pa.schema([field for field in schema if not is_bulk(field)], schema.metadata)
    return Table(name, f"stage {instance.stage_type.name}; {note}", shown, _parts(files))


def _relation_files(
    dataset: Dataset, instance: Instance, instances: Mapping[str, Instance]
) -> tuple[tuple[str, ...], str]:
    """Choose the groups to show: those of all present shards, else those of the most.

    Shard sets are told apart by their shards alone; only where several have the same ones, because
    shards were rewritten, are the digests of all files read to find the one that holds now.
    """
    folder = layout.relation_folder(instance.name, instance.fingerprint)
    found: dict[str, frozenset[int]] = {}
    for name in dataset.store.names(folder):
        if name != "edges" and dataset.store.exists(f"{folder}/{name}/relation.json"):
            facts = read_facts(dataset, instance.name, instance.fingerprint, name)
            found[name] = frozenset(s for b in facts["blocks"] for s in Block(b).shards)
    if not found:
        return (), "not grouped yet"
    present = frozenset(dataset.image_shards())
    exact = [name for name, shards in found.items() if shards == present]
    if len(exact) > 1:
        current = shard_set(current_blocks(dataset, instance, instances))
        exact = [name for name in exact if name == current] or exact
    chosen = exact[0] if exact else max(found, key=lambda name: (len(found[name]), name))
    lacking = len(present - found[chosen])
    note = f"groups of {len(found[chosen])} shards"
    if lacking:
        note += f", stale: {lacking} newer shards are not in it; run the pipeline again"
    files = [f for f in dataset.store.names(f"{folder}/{chosen}") if f.startswith("rows-")]
    return tuple(f"{folder}/{chosen}/{file}" for file in files), note


def _wide(images: Table, instances: Sequence[Table]) -> Table:
    fields = list(images.schema)
    for entry in instances:
        fields.extend(f for f in entry.schema if f.name not in _KEY)
    doc = "images and all instances side by side; null where an instance lacks the shard"
    return Table("rows", doc, pa.schema(fields), images.parts, joined=tuple(instances))


def _decisions(manifests: Sequence[SnapshotManifest]) -> Table:
    parts = _snapshot_parts(manifests, "decisions")
    doc = f"what every snapshot decided on every row; {len(parts)} snapshots"
    return Table("decisions", doc, pa.schema([_SNAPSHOT_ID, *DECISIONS]), parts)


def _preferences(manifests: Sequence[SnapshotManifest]) -> Table:
    parts = _snapshot_parts(manifests, "preferences")
    doc = f"what snapshots decided on pairs of preferred images; {len(parts)} snapshots"
    return Table("preferences", doc, pa.schema([_SNAPSHOT_ID, *PREFERENCES]), parts)


def _snapshot_parts(manifests: Sequence[SnapshotManifest], folder: str) -> tuple[Part, ...]:
    parts = []
    for manifest in manifests:
        names = (name for name in sorted(manifest.files) if name.startswith(f"{folder}/"))
        files = tuple(f"{layout.snapshot_folder(manifest.id)}/{name}" for name in names)
        if files:
            parts.append(Part(files, {"snapshot_id": manifest.id}))
    return tuple(parts)


def _snapshots(manifests: Sequence[SnapshotManifest]) -> Table:
    rows = [
        {
            "snapshot_id": manifest.id,
            "created_at": manifest.created_at,
            "pipeline": manifest.pipeline,
            "num_rows": manifest.conservation.images,
            "num_kept": manifest.conservation.kept,
            "manifest": canonical_json(manifest.model_dump(mode="json")),
        }
        for manifest in manifests
    ]
    found = pa.Table.from_pylist(rows, schema=SNAPSHOTS)
    return Table("snapshots", f"{len(rows)} snapshots", SNAPSHOTS, rows=found)


def _parts(files: tuple[str, ...]) -> tuple[Part, ...]:
    return (Part(files),) if files else ()


def _as_read(schema: pa.Schema) -> pa.Schema:
    """Return the types as DuckDB gives them when it reads the files itself.

    What goes through Arrow then looks the same: half floats (which DuckDB does not take from Arrow)
    are floats, and the length of a list is no part of its type. Identifiers stay 16 bytes, since
    DuckDB leaves filters to Arrow, and Arrow compares no UUIDs; `_from_arrow` makes them UUIDs.
    """
    return pa.schema([f.with_type(_type_as_read(f.type)) for f in schema])


def _is_uuid(field: pa.Field) -> bool:
    return (field.metadata or {}).get(b"logical") == b"uuid"


def _type_as_read(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(_type_as_read(kind.value_type)))
    return kind


# How it is read ------------------------------------------------------------------------------


class _Scans:
    """Collects what the views of one statement read."""

    def __init__(self, dataset: Dataset) -> None:
        self.files: list[str] = []
        self.sources: dict[str, Any] = {}
        self._store = dataset.store
        # DuckDB would take such a path for a pattern; a remote one it cannot open by itself, and
        # through a registered fsspec file system it reads wrong bytes with several threads.
        self._direct = self._store.is_local and not _PATTERN & set(self._store.root)

    def select(self, entry: Table) -> str:
        """Return the SELECT over the parts of a table."""
        own = [f for f in entry.schema if not any(f.name in p.constants for p in entry.parts)]
        if entry.rows is not None:
            return f"SELECT * FROM {self._from_arrow(entry.rows, entry.schema)}"
        if not entry.parts:
            empty = _as_read(entry.schema).empty_table()
            return f"SELECT * FROM {self._from_arrow(empty, entry.schema)}"
        selects = []
        for part in entry.parts:
            columns = [duck.quoted(f.name) for f in own]
            for name, value in part.constants.items():
                columns.insert(0, f"{duck.text_literal(value)} AS {duck.quoted(name)}")
            scan = self._scan(part.files, pa.schema(own))
            selects.append(f"SELECT {', '.join(columns)} FROM {scan}")
        return " UNION ALL ".join(selects)

    def _scan(self, files: Sequence[str], schema: pa.Schema) -> str:
        paths = [self._store.path(file) for file in files]
        if self._direct:
            self.files.extend(paths)
            return duck.parquet_scan(paths)
        dataset = pads.dataset(
            paths, schema=_as_read(schema), format="parquet", filesystem=self._store.fs
        )
        return self._from_arrow(dataset, schema)

    def _from_arrow(self, source: Any, schema: pa.Schema) -> str:
        """Register what Arrow reads, and return what selects it with its identifiers as UUIDs."""
        name = f"_source_{len(self.sources)}"
        self.sources[name] = source
        columns = [
            f"CAST({quoted} AS UUID) AS {quoted}" if _is_uuid(field) else quoted
            for field in schema
            for quoted in [duck.quoted(field.name)]
        ]
        return f"(SELECT {', '.join(columns)} FROM {name})"


def _view(scans: _Scans, entry: Table, uses: Uses) -> str:
    base = scans.select(replace(entry, schema=_base_schema(entry)))
    if not entry.joined:
        return base
    columns = [f"i.{duck.quoted(name)}" for name in _base_schema(entry).names]
    joins = []
    for number, other in enumerate(entry.joined):
        names = [name for name in other.schema.names if name not in _KEY]
        if any(uses.may_read(name) for name in names):
            columns.extend(f"t{number}.{duck.quoted(name)}" for name in names)
            joins.append(
                f" LEFT JOIN ({scans.select(other)}) AS t{number}"
                f" ON t{number}.shard = i.shard AND t{number}.row = i.row"
            )
    return f"SELECT {', '.join(columns)} FROM ({base}) AS i{''.join(joins)}"


def _base_schema(entry: Table) -> pa.Schema:
    """Return the columns that come from the table's own parts."""
    others = {n for other in entry.joined for n in other.schema.names if n not in _KEY}
    return pa.schema([f for f in entry.schema if f.name not in others])
