"""What ingest puts on disk in layout 1, frozen: file names, schemas, physical types, `done.json`.

Columns may be added, never retyped or taken away.
"""

import os

import pyarrow.parquet as pq

from curation.dataset import Dataset
from curation.ingest.folder import FolderConfig
from curation.ingest.make_shard import make_image_shard
from curation.ingest.tombstones import Tombstones
from curation.ingest.work_list import freeze_lists, pending_shards, shard_rows
from curation.tables import to_parquet
from schemas.dataset import images_path
from schemas.images import IMAGES
from schemas.ingest_list import INGEST_LIST
from schemas.tombstones import TOMBSTONES

INGEST_LIST_COLUMNS = {
    "source_name": "string",
    "key": "string",
    "ordinal": "int64",
    "uri": "string",
    "num_bytes": "int64",
    "etag": "string",
    "mtime_ns": "int64",
    "shard": "int32",
    "row": "int32",
    "change": "string",
    "offset": "int64",
    "length": "int64",
    "table_row": "int64",
    "alt_text": "string",
    "license": "string",
    "metadata": "string",
    "sidecars": "string",
    "container": "string",
    "error": "string",
}
IMAGES_COLUMNS = {
    "shard": "int32",
    "row": "int32",
    "image_id": "fixed_size_binary[16]",
    "source_name": "string",
    "source_key": "string",
    "source_ordinal": "int64",
    "source_uri": "string",
    "source_offset": "int64",
    "source_length": "int64",
    "content_sha256": "fixed_size_binary[32]",
    "num_bytes": "int64",
    "alt_text": "string",
    "license": "string",
    "metadata": "string",
    "source_error": "string",
    "image_bytes": "binary",
}
TOMBSTONES_COLUMNS = {
    "image_id": "fixed_size_binary[16]",
    "content_sha256": "fixed_size_binary[32]",
    "reason": "string",
    "source": "string",
}
DONE = """{
  "format": 1,
  "lists": 2,
  "rows": {
    "changed": 0,
    "new": 3,
    "vanished": 0
  },
  "seq": 0,
  "shards": [
    0,
    2
  ],
  "source": {
    "kind": "folder",
    "name": "lake",
    "roots": [
      "ROOT"
    ],
    "store": "bytes",
    "sync": false
  }
}
"""


def small_ingest(tmp_path):
    """Take three files into shards of two rows, a shard a list."""
    root = tmp_path / "lake"
    root.mkdir()
    for name in "abc":
        (root / name).write_bytes(name.encode())
        os.utime(root / name, ns=(1_700_000_000_123_456_789,) * 2)
    dataset = Dataset.open_or_create(str(tmp_path / "dataset"), max_shard_rows=2)
    source = FolderConfig(name="lake", roots=(str(root),), list_shards=1)
    list(freeze_lists(dataset, source))
    for shard, (seq, number) in pending_shards(dataset).items():
        table = make_image_shard(shard_rows(dataset, shard, seq, number), source, Tombstones())
        dataset.store.put(images_path(shard), to_parquet(table))
    return dataset, root


def test_columns_are_frozen():
    """Name, type and order."""
    for schema, columns in (
        (INGEST_LIST, INGEST_LIST_COLUMNS),
        (IMAGES, IMAGES_COLUMNS),
        (TOMBSTONES, TOMBSTONES_COLUMNS),
    ):
        assert {field.name: str(field.type) for field in schema} == columns
        assert schema.names == list(columns)
        assert all(field.metadata[b"version"] == b"1" for field in schema)


def test_file_names_and_done_are_frozen(tmp_path):
    """An ingest of two lists, the empty one that ends it, and two shards."""
    dataset, root = small_ingest(tmp_path)

    assert dataset.store.files("") == [
        "dataset.json",
        "images/00000/shard-00000000.parquet",
        "images/00000/shard-00000001.parquet",
        "ingest/00000000/done.json",
        "ingest/00000000/list-00000000.parquet",
        "ingest/00000000/list-00000001.parquet",
        "ingest/00000000/list-00000002.parquet",
    ]
    done = dataset.store.read("ingest/00000000/done.json").decode()
    assert done == DONE.replace("ROOT", str(root))


def test_lines_are_frozen(tmp_path):
    """What a list says of a local file."""
    dataset, root = small_ingest(tmp_path)

    assert dataset.read_list(0, 1).to_pylist() == [
        {
            "source_name": "lake",
            "key": "c",
            "ordinal": 0,
            "uri": f"file://{root}/c",
            "num_bytes": 1,
            "etag": None,
            "mtime_ns": 1_700_000_000_123_456_789,
            "shard": 1,
            "row": 0,
            "change": "new",
            "offset": None,
            "length": None,
            "table_row": None,
            "alt_text": None,
            "license": None,
            "metadata": None,
            "sidecars": None,
            "container": None,
            "error": None,
        }
    ]
    assert len(dataset.read_list(0, 2)) == 0


def test_image_shards_are_plain_parquet(tmp_path):
    """Ids are Parquet's UUIDs, and images lie uncompressed."""
    dataset, _ = small_ingest(tmp_path)
    file = pq.ParquetFile(dataset.store.local(images_path(0)))

    columns = {file.schema.column(n).name: file.schema.column(n) for n in range(len(file.schema))}
    group = file.metadata.row_group(0)
    codecs = {
        group.column(n).path_in_schema: group.column(n).compression for n in range(len(columns))
    }

    assert str(columns["image_id"].logical_type) == "UUID"
    assert columns["image_id"].length == 16
    assert columns["content_sha256"].physical_type == "FIXED_LEN_BYTE_ARRAY"
    assert columns["image_bytes"].physical_type == "BYTE_ARRAY"
    assert codecs.pop("image_bytes") == "UNCOMPRESSED"
    assert set(codecs.values()) == {"ZSTD"}
