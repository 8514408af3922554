"""What snapshots look like on disk, frozen: a change here is a change of the format."""

import json

import pyarrow.parquet as pq

from curation.snapshot.create import create_snapshot
from curation.snapshot.manifest import FORMAT, SnapshotManifest
from curation.snapshot.read import snapshot_path
from schemas.decisions import DECISIONS
from schemas.preferences import PREFERENCES, REFERENCE_ERRORS
from schemas.training import MATERIALIZED, TRAINING
from stages.sample import HierarchicalSampler
from tests.curation.snapshot.snapshot_dataset import Image, make_dataset, unreadable

SNAPSHOT_ID = "527e3c15b4e9cbfeb40cac539afaba7a"

MANIFEST = """\
{
 "categories": {
  "": {
   "before": 4,
   "draws": 5,
   "kept": 4
  },
  "people": {
   "before": 1,
   "draws": 1,
   "kept": 1
  },
  "people/portrait": {
   "before": 1,
   "draws": 1,
   "kept": 1
  },
  "text": {
   "before": 1,
   "draws": 2,
   "kept": 1
  },
  "text/poster": {
   "before": 1,
   "draws": 2,
   "kept": 1
  },
  "unknown": {
   "before": 2,
   "draws": 2,
   "kept": 2
  }
 },
 "code_version": "0.1.0",
 "columns": {
  "aesthetic_score": "aesthetic_score",
  "category_path": "categorize_path",
  "dedup_group": "dedup_group",
  "height": "inspect_height",
  "width": "inspect_width"
 },
 "conservation": {
  "excluded": {
   "duplicate": 1,
   "scored:unknown": 1,
   "size": 1,
   "unreadable": 1
  },
  "images": 9,
  "kept": 4,
  "pending": 0,
  "quarantined": 0,
  "superseded": 1,
  "tombstoned": 0
 },
 "content": {
  "decisions": "0f3e1b1d3dfe717428388da7f0e766d8",
  "format": "longtail-snapshot-1",
  "parents": {
   "aesthetic": {
    "fingerprint": "2ce48aa45afeb087",
    "stage": "aesthetic"
   },
   "categorize": {
    "fingerprint": "4e56103a68351c88",
    "stage": "categorize"
   },
   "dedup": {
    "fingerprint": "1a3ecd45347ac80d",
    "stage": "dedup"
   },
   "inspect": {
    "fingerprint": "8f34e5fe5647d758",
    "stage": "inspect"
   }
  },
  "representative": [
   "inspect_width::BIGINT * inspect_height",
   "aesthetic_score"
  ],
  "rows": "b96abbf75d8e5e28c51bb0a68c302f10",
  "sample": {
   "aesthetic_exponent": 0.25,
   "category_exponent": 0.5,
   "repeat_cap": 2,
   "seed": 7,
   "size": 5,
   "temperature": 10.0
  },
  "split": {
   "salt": "longtail",
   "validation": 0.25
  },
  "where": [
   {
    "name": "size",
    "sql": "inspect_width >= 512"
   },
   {
    "name": "scored",
    "sql": "aesthetic_score > 0"
   }
  ]
 },
 "created_at": "",
 "dataset": "",
 "dataset_id": "",
 "files": {
  "data/part-00000.parquet": {
   "num_bytes": 0,
   "num_rows": 4,
   "sha256": ""
  },
  "decisions/part-00000.parquet": {
   "num_bytes": 0,
   "num_rows": 9,
   "sha256": ""
  }
 },
 "id": "527e3c15b4e9cbfeb40cac539afaba7a",
 "num_draws": 5,
 "num_missing": 0,
 "num_moved": 0,
 "pipeline": "test",
 "previous": null,
 "reasons": {
  "duplicate": 1,
  "scored:unknown": 1,
  "size": 1,
  "superseded": 1,
  "unreadable": 1
 },
 "splits": {
  "train": 4,
  "validation": 0
 }
}"""

DECISIONS_TEXT = """\
shard: int32
row: int32
image_id: fixed_size_binary[16]
kept: bool
reason: string
reasons: list<item: string>
repeat: int32
weight: double
split: string
category_path: string"""

TRAINING_TEXT = """\
shard: int32
row: int32
image_id: fixed_size_binary[16]
width: int32
height: int32
captions: list<item: struct<variant: string, language: string, text: string>>
category_path: string
aesthetic_score: float
weight: double
repeat: int32
split: string"""


PREFERENCES_ID = "1d410eaf40976860ba30cf89e0852dc8"

PREFERENCES_DIGEST = "eaa660e3eab58e2adefc26bc98ea7708"

PREFERENCES_TEXT = """\
pair_id: fixed_size_binary[16]
prompt: string
winner_image_id: fixed_size_binary[16]
loser_image_id: fixed_size_binary[16]
source: string
margin: double
kept: bool
reason: string
split: string"""

REFERENCE_ERRORS_TEXT = """\
pair_id: fixed_size_binary[16]
epoch: int64
sigma: float
e_ref_win: float
e_ref_lose: float
numel: int64"""


def make():
    """Describe the frozen dataset: every kind of row once."""
    images = [
        Image("portrait/1", width=800, score=61.5, path="people/portrait"),
        Image("portrait/2", width=700, score=61.5, path="people/portrait", group="portrait/1"),
        Image("portrait/3", width=300, path="people/portrait"),
        Image("sign", score=None, path="text"),
        Image("bird/1", score=70.0, path=None),
        Image("bird/2", score=20.0, path=None),
        Image("poster", score=80.0, path="text/poster"),
        unreadable("broken"),
    ]
    later = [Image("poster", b"another", score=85.0, path="text/poster")]
    options = {
        "where": {"size": "inspect_width  >= 512", "scored": "aesthetic_score > 0"},
        "sample": {"size": 5, "seed": 7, "repeat_cap": 2},
        "split": {"validation": 0.25},
    }
    return images, later, options


def create(tmp_path):
    """Create the frozen snapshot."""
    images, later, options = make()
    made = make_dataset(tmp_path / "d", images, later, **options)
    found = create_snapshot(
        made.dataset,
        made.pipeline,
        made.instances,
        made.relations,
        HierarchicalSampler(),
        code_version="0.1.0",
    )
    return made, found.manifest


def schema_text(schema):
    """Write a schema as lines of name and type."""
    return "\n".join(f"{field.name}: {field.type}" for field in schema)


def test_the_manifest_and_the_id_are_frozen(tmp_path):
    """The same content gives this id and this JSON, on every machine."""
    made, manifest = create(tmp_path)

    # What differs from run to run by design, and Parquet bytes, which name pyarrow's version.
    files = {
        name: {**info.model_dump(), "num_bytes": 0, "sha256": ""}
        for name, info in manifest.files.items()
    }
    frozen = {
        **manifest.model_dump(mode="json"),
        "created_at": "",
        "dataset": "",
        "dataset_id": "",
        "files": files,
    }
    assert manifest.id == SNAPSHOT_ID
    assert json.dumps(frozen, indent=1, sort_keys=True) == MANIFEST
    path = snapshot_path(manifest.id, "manifest.json")
    on_disk = json.loads(made.dataset.store.read(path))
    assert SnapshotManifest.model_validate(on_disk) == manifest
    assert on_disk["content"]["format"] == FORMAT == "longtail-snapshot-1"


def test_a_snapshot_is_these_files(tmp_path):
    """Decisions and data by group of shards, and the manifest."""
    made, manifest = create(tmp_path)

    folder = f"snapshots/{manifest.id}"
    assert made.dataset.store.files(folder) == [
        f"{folder}/data/part-00000.parquet",
        f"{folder}/decisions/part-00000.parquet",
        f"{folder}/manifest.json",
    ]


def test_the_schemas_are_frozen():
    """Columns are added, never renamed, retyped or moved."""
    assert schema_text(DECISIONS) == DECISIONS_TEXT
    assert schema_text(TRAINING) == TRAINING_TEXT
    assert schema_text(MATERIALIZED) == (
        f"{TRAINING_TEXT}\nbucket_width: int32\nbucket_height: int32\nimage_bytes: binary"
    )


def test_a_snapshot_with_preferences_is_frozen_too(tmp_path):
    """The file, its columns, and the digest and id that follow from its values."""
    images, later, options = make()
    made = make_dataset(tmp_path / "d", images, later, **options)
    ids = [image.image_id.hex() for image in (images[0], images[4], images[5])]
    rows = [
        {"prompt": "a portrait", "winner": ids[0], "loser": ids[1], "margin": 2, "source": "me"},
        {"prompt": "a bird", "winner": ids[1], "loser": ids[2]},
        {"prompt": "a bird", "winner": ids[2], "loser": ids[2]},
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    manifest = create_snapshot(
        made.dataset,
        made.pipeline,
        made.instances,
        made.relations,
        HierarchicalSampler(),
        preferences=str(tmp_path / "pairs.jsonl"),
    ).manifest

    assert manifest.content.preferences == PREFERENCES_DIGEST
    assert manifest.id == PREFERENCES_ID
    assert manifest.preferences is not None
    assert manifest.preferences.model_dump() == {
        "pairs": 3,
        "kept": 1,
        "excluded": {"bucket_mismatch": 1, "same_image": 1},
        "splits": {"train": 1, "validation": 0},
        "sources": {"": 1},
    }
    assert sorted(manifest.files) == [
        "data/part-00000.parquet",
        "decisions/part-00000.parquet",
        "preferences/shard-00000.parquet",
    ]
    assert schema_text(PREFERENCES) == PREFERENCES_TEXT
    assert schema_text(REFERENCE_ERRORS) == REFERENCE_ERRORS_TEXT


def test_identifiers_are_uuids_on_disk(tmp_path):
    """DuckDB joins them as 16-byte numbers."""
    made, manifest = create(tmp_path)

    path = made.dataset.store.local(snapshot_path(manifest.id, "decisions/part-00000.parquet"))
    column = pq.ParquetFile(path).schema.column(2)

    assert (column.name, str(column.logical_type)) == ("image_id", "UUID")
