"""A dataset of three shards with two stages and a snapshot, written as a pipeline would."""

import hashlib
import json
from pathlib import Path

import pyarrow as pa

from curation.config import Config
from curation.dataset import Dataset
from curation.fingerprint import pretty_json
from curation.inventory import applied_instances, applied_pipelines
from curation.pipeline.instances import Registry
from curation.pipeline.stage import Shard, Stage
from curation.snapshot.manifest import Conservation, Content, FileInfo, SnapshotManifest
from curation.tables import conform, write_table
from schemas import dataset as layout
from schemas.columns import IDENTITY, column, table
from schemas.decisions import DECISIONS
from schemas.images import IMAGES
from schemas.ingest_list import INGEST_LIST

ROWS = 4
SHARDS = 3

ERROR = column("error", pa.string(), "Why the others are null.")
SIZE = table("size", column("width", pa.int32(), "Width of the image.", unit="px"), ERROR)
SCORE = table("score", column("value", pa.float32(), "How pretty.", unit="0..100"), ERROR)


class SizeConfig(Config):
    """Nothing to set."""


class SizeStage(Stage[SizeConfig]):
    """Write the width that the row number gives."""

    name = "size"
    config_type = SizeConfig

    def reads(self):
        return ("images.num_bytes",)

    def writes(self):
        return SIZE

    def process(self, shard: Shard):
        widths = [100 * (number + 1) for number in range(len(shard))]
        return pa.table([pa.array(widths, pa.int32()), pa.nulls(len(shard), pa.string())], SIZE)


class ScoreConfig(Config):
    """One threshold, so that two configurations differ."""

    scale: int = 1


class ScoreStage(Stage[ScoreConfig]):
    """Write a score that the row number gives."""

    name = "score"
    config_type = ScoreConfig

    def reads(self):
        return ("size.width",)

    def writes(self):
        return SCORE

    def process(self, shard: Shard):
        values = [10.0 * self.config.scale * number for number in range(len(shard))]
        return pa.table([pa.array(values, pa.float32()), pa.nulls(len(shard), pa.string())], SCORE)


REGISTRY: Registry = {"size": SizeStage, "score": ScoreStage}

PIPELINE = """\
name: small
dataset: {url}
stages:
  size: {{}}
  score: {{scale: 2}}
"""


def image_id(shard, row):
    """Return an identity that looks like a UUIDv8."""
    raw = bytearray(hashlib.sha256(f"{shard}/{row}".encode()).digest()[:16])
    raw[6], raw[8] = raw[6] & 0x0F | 0x80, raw[8] & 0x3F | 0x80
    return bytes(raw)


def identity(shard):
    """Return the three columns that every table carries."""
    ids = [image_id(shard, row) for row in range(ROWS)]
    arrays = [[shard] * ROWS, list(range(ROWS)), ids]
    pairs = zip(arrays, IDENTITY, strict=True)
    return {field.name: pa.array(values, field.type) for values, field in pairs}


def images_table(shard):
    """Return one image shard whose bytes name their row."""
    columns = {field.name: pa.nulls(ROWS, field.type) for field in IMAGES} | identity(shard)
    keys = [f"s{shard}/r{row}.png" for row in range(ROWS)]
    columns["source_name"] = pa.array(["lake"] * ROWS)
    columns["source_key"] = pa.array(keys)
    columns["num_bytes"] = pa.array([len(key) for key in keys], pa.int64())
    columns["image_bytes"] = pa.array([key.encode() for key in keys])
    return conform(pa.table(columns), IMAGES)


def stage_table(instance, shard):
    """Return one instance's file for a shard."""
    result = instance.make().process(Shard(shard, pa.table(identity(shard))))
    names = [f"{instance.name}_{name}" for name in result.column_names]
    columns = identity(shard) | dict(zip(names, result.columns, strict=True))
    return conform(pa.table(columns), instance.disk_schema())


def decisions_table(shard):
    """Return the decisions on a shard: odd rows are out."""
    kept = [row % 2 == 0 for row in range(ROWS)]
    columns = {field.name: pa.nulls(ROWS, field.type) for field in DECISIONS} | identity(shard)
    columns["kept"] = pa.array(kept)
    columns["reason"] = pa.array([None if keep else "odd" for keep in kept], pa.string())
    return conform(pa.table(columns), DECISIONS)


def manifest_of(snapshot, files):
    """Return a manifest that says what `decisions_table` holds."""
    num_rows = SHARDS * ROWS
    rows = {"superseded": 0, "tombstoned": 0, "pending": 0, "quarantined": 0}
    return SnapshotManifest(
        id=snapshot,
        content=Content(
            parents={}, rows="", where=(), representative=(), split={}, sample=None, decisions=""
        ),
        conservation=Conservation(
            images=num_rows, excluded={"odd": num_rows // 2}, kept=num_rows // 2, **rows
        ),
        reasons={"odd": num_rows // 2},
        splits={"train": num_rows // 2},
        categories={},
        num_draws=num_rows // 2,
        num_missing=0,
        num_moved=0,
        previous=None,
        columns={},
        files={name: FileInfo(num_bytes=1, num_rows=ROWS, sha256="") for name in files},
        dataset="somewhere",
        dataset_id="1",
        pipeline="small",
        code_version="",
        created_at="2026-01-02T03:04:05Z",
    )


def make_small_dataset(url, *, missing=((2, "score"),), snapshot="0123456789abcdef"):
    """Write the dataset at `url` and open it.

    Args:
        url: Where.
        missing: (shard, instance) pairs whose file is left out.
        snapshot: Id of its one snapshot; null for none.
    """
    dataset = Dataset.open_or_create(str(url))
    store = dataset.store
    listed = {field.name: pa.nulls(ROWS * SHARDS, field.type) for field in INGEST_LIST}
    shards = [shard for shard in range(SHARDS) for _ in range(ROWS)]
    listed["shard"] = pa.array(shards, pa.int32())
    write_table(store, layout.list_path(0, 0), conform(pa.table(listed), INGEST_LIST))
    store.put(layout.ingest_done_path(0), b"{}")
    store.put("pipelines/small.yaml", PIPELINE.format(url=url).encode())
    config = applied_pipelines(dataset)["small"]
    for shard in range(SHARDS):
        write_table(store, layout.images_path(shard), images_table(shard))
        for instance in applied_instances(dataset, config, REGISTRY):
            if (shard, instance.name) not in missing:
                path = layout.instance_path(instance.name, instance.fingerprint, shard)
                write_table(store, path, stage_table(instance, shard))
    if snapshot:
        folder = layout.snapshot_folder(snapshot)
        names = [f"decisions/part-{shard:05d}.parquet" for shard in range(SHARDS)]
        for shard, name in enumerate(names):
            write_table(store, f"{folder}/{name}", decisions_table(shard))
        manifest = manifest_of(snapshot, names).model_dump(mode="json")
        store.put(f"{folder}/manifest.json", pretty_json(manifest))
    return dataset


def make_bare_dataset(url):
    """Write the dataset without its stages, for tests that use the stages' real registry."""
    every = [(shard, name) for shard in range(SHARDS) for name in REGISTRY]
    dataset = make_small_dataset(url, missing=every)
    dataset.store.delete("pipelines/small.yaml")
    return dataset


def tree_digest(folder):
    """Hash names and bytes of everything below `folder`, hidden files too."""
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    content = [
        [str(path.relative_to(folder)), hashlib.sha256(path.read_bytes()).hexdigest()]
        for path in files
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
