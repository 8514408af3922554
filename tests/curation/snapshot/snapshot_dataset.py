"""Small datasets with the columns that snapshots look at, written as a pipeline would."""

import hashlib
from dataclasses import dataclass, field, replace

import pyarrow as pa

from curation.config import Config
from curation.dataset import Dataset
from curation.fingerprint import pretty_json
from curation.pipeline.config import PipelineConfig
from curation.pipeline.instances import resolve
from curation.pipeline.stage import RelationStage, Stage
from curation.tables import conform, write_table
from schemas import dataset as layout
from schemas.columns import IDENTITY, UUID, column, table
from schemas.error_codes import row_error
from schemas.images import IMAGES
from schemas.ingest_list import INGEST_LIST

ERROR = column("error", pa.string(), "Why the others are null.")
COLUMNS = {
    "inspect": table(
        "inspect",
        column("width", pa.int32(), "Width."),
        column("height", pa.int32(), "Height."),
        ERROR,
    ),
    "aesthetic": table("aesthetic", column("score", pa.float32(), "Score."), ERROR),
    "categorize": table("categorize", column("path", pa.string(), "Category."), ERROR),
    "dedup": table("dedup", column("group", UUID, "Group.", logical="uuid")),
}


class NoConfig(Config):
    """Nothing to set."""

    scale: int = 1


class FakeStage(Stage[NoConfig]):
    """A stage of which only the schema is used: its files are written by hand."""

    config_type = NoConfig

    def reads(self):
        return ("images.num_bytes",)

    def writes(self):
        return COLUMNS[self.name]

    def process(self, shard):
        raise NotImplementedError


class Inspect(FakeStage):
    name = "inspect"


class Aesthetic(FakeStage):
    name = "aesthetic"

    def reads(self):
        return ("inspect.width",)


class Categorize(FakeStage):
    name = "categorize"


class Dedup(RelationStage[NoConfig]):
    """The same for the relation."""

    name = "dedup"
    config_type = NoConfig

    def reads(self):
        return ("inspect.width",)

    def writes(self):
        return COLUMNS["dedup"]

    def edge_schema(self):
        raise NotImplementedError

    def edges(self, left, right):
        raise NotImplementedError

    def groups(self, rows, edges):
        raise NotImplementedError


REGISTRY = {stage.name: stage for stage in (Inspect, Aesthetic, Categorize, Dedup)}


@dataclass(frozen=True)
class Image:
    """A listed file and what the stages say of it; `group` is the key of its group's first."""

    key: str
    content: bytes | None = b""
    error: str | None = None
    width: int | None = 640
    height: int | None = 480
    score: float | None = 50.0
    path: str | None = "photo"
    group: str | None = None
    vanished: bool = False

    def __post_init__(self):
        if self.content == b"":
            object.__setattr__(self, "content", self.key.encode())

    @property
    def image_id(self):
        """Any 16 bytes that depend on key and content, as the real ones do."""
        return hashlib.sha256(self.key.encode() + b"\0" + (self.content or b"")).digest()[:16]


def unreadable(key, code="empty"):
    """Make a file that could not be taken in."""
    return Image(key, None, row_error(code), None, None, None, None)


@dataclass
class Groups:
    """The relation's rows, as the runner would offer them."""

    tables: dict[int, pa.Table] = field(default_factory=dict)

    @property
    def shards(self):
        return self.tables.keys()

    def read(self, shard, columns):
        return self.tables[shard].select(columns)


@dataclass
class Made:
    """A dataset with its resolved pipeline."""

    dataset: Dataset
    pipeline: PipelineConfig
    instances: tuple
    relations: dict

    def instance(self, name):
        return next(i for i in self.instances if i.name == name)

    def drop(self, name, shard):
        """Remove a stage's file of one shard."""
        path = layout.instance_path(name, self.instance(name).fingerprint, shard)
        self.dataset.store.delete(path)

    def quarantine(self, name, shard, state="quarantined"):
        """Charge a shard of an instance."""
        fingerprint = "ingest" if name == layout.IMAGES else self.instance(name).fingerprint
        sheet = pretty_json({"format": 1, "state": state, "charges": []})
        path = layout.quarantine_path(name, fingerprint, f"shard-{shard:08d}")
        self.dataset.store.put(path, sheet)

    def with_snapshot(self, **changes):
        """Return the same dataset under another `snapshot:` section."""
        value = {**self.pipeline.model_dump(), "snapshot": changes}
        return replace(self, pipeline=PipelineConfig.model_validate(value))


def make_dataset(path, *ingests, shard_rows=4, stages=tuple(COLUMNS), **snapshot):
    """Write ingests of images and the files of all stages, and return the lot."""
    dataset = Dataset.open_or_create(str(path))
    pipeline = PipelineConfig.model_validate(
        {
            "name": "test",
            "dataset": str(path),
            "stages": {name: {} for name in stages},
            "snapshot": snapshot,
        }
    )
    made = Made(dataset, pipeline, resolve(pipeline, REGISTRY), {})
    if "dedup" in stages:
        made.relations["dedup"] = Groups()
    first = {image.key: image.image_id for images in ingests for image in images}
    shard = 0
    for seq, images in enumerate(ingests):
        shard = _write_ingest(made, seq, images, shard, shard_rows, first)
    return made


def _write_ingest(made, seq, images, shard, shard_rows, groups):
    lines = []
    files = [image for image in images if not image.vanished]
    parts = [files[start : start + shard_rows] for start in range(0, len(files), shard_rows)]
    for part in parts:
        lines += [_line(image, shard, row) for row, image in enumerate(part)]
        _write_shard(made, shard, part, groups)
        shard += 1
    lines += [_line(image, None, None) for image in images if image.vanished]
    listed = pa.Table.from_pylist(lines, schema=INGEST_LIST)
    write_table(made.dataset.store, layout.list_path(seq, 0), listed)
    made.dataset.store.put(layout.ingest_done_path(seq), pretty_json({"format": 1}))
    return shard


def _line(image, shard, row):
    change = "vanished" if image.vanished else "new"
    place = {"source_name": "lake", "key": image.key, "ordinal": 0}
    return {**place, "uri": image.key, "shard": shard, "row": row, "change": change}


def _write_shard(made, shard, images, groups):
    identity = {
        "shard": pa.array([shard] * len(images), pa.int32()),
        "row": pa.array(range(len(images)), pa.int32()),
        "image_id": pa.array([i.image_id for i in images], pa.binary(16)),
    }
    store = made.dataset.store
    rows = [
        {
            "source_name": "lake",
            "source_key": i.key,
            "source_ordinal": 0,
            "source_uri": i.key,
            "content_sha256": hashlib.sha256(i.content).digest() if i.content else None,
            "num_bytes": len(i.content) if i.content else None,
            "metadata": '{"a": 1}',
            "source_error": i.error,
            "image_bytes": i.content,
        }
        for i in images
    ]
    values = pa.Table.from_pylist(rows, schema=pa.schema(list(IMAGES)[3:]))
    columns = {**identity, **{name: values[name] for name in values.column_names}}
    write_table(store, layout.images_path(shard), conform(pa.table(columns), IMAGES))
    attributes = {"categorize": "path", "aesthetic": "score"}
    for instance in made.instances:
        schema = pa.schema([*IDENTITY, *list(instance.disk_schema())[3:]])
        found = dict(identity)
        for item in list(schema)[3:]:
            name = item.name.removeprefix(f"{instance.name}_")
            if name == "group":
                data = [groups[i.group or i.key] if i.group else i.image_id for i in images]
            elif name == "error":
                data = [i.error for i in images]
            else:
                data = [getattr(i, attributes.get(instance.name, name)) for i in images]
            found[item.name] = pa.array(data, item.type)
        table_ = conform(pa.table(found), schema)
        if instance.is_relation:
            made.relations[instance.name].tables[shard] = table_
        else:
            write_table(
                store, layout.instance_path(instance.name, instance.fingerprint, shard), table_
            )
