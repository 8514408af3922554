"""Names and numbers of layout 1: where everything lies below a dataset's root."""

LAYOUT = 1

DESCRIPTION = "dataset.json"
"""The file that makes a folder a dataset."""

FORMAT = "longtail-dataset"
"""What that file says of itself."""

MAX_SHARD_ROWS = 1024
MAX_SHARD_BYTES = 256 << 20

SHARDS_PER_GROUP = 1000
"""Shards in a folder, and in a span; a part of the layout, which only tests set to another."""

SPAN = "span.parquet"
"""The file of a group's folder that holds all its shards, a row group each, once compacted."""

IMAGES = "images"
"""Folder of the image shards, and the name under which stages read what ingest owns."""

RESERVED_NAMES = frozenset(
    {
        IMAGES,
        "artifacts",
        "dataset",
        "decisions",
        "ingest",
        "pins",
        "pipelines",
        "preferences",
        "quarantine",
        "relations",
        "rows",
        "runs",
        "snapshots",
        "source",
        "tombstones",
    }
)
"""Folders, SQL tables and column prefixes that no instance may be called by."""


def shard_file(shard: int) -> str:
    """Return `<group>/shard-<n>.parquet`."""
    return f"{group_of(shard):05d}/shard-{shard:08d}.parquet"


def group_of(shard: int) -> int:
    """Return the number of the group in which a shard lies."""
    return shard // SHARDS_PER_GROUP


def group_shards(group: int) -> range:
    """Return the shards of a group."""
    return range(group * SHARDS_PER_GROUP, (group + 1) * SHARDS_PER_GROUP)


def group_folder(folder: str, group: int) -> str:
    """Return where the shards of a group lie below an instance's folder."""
    return f"{folder}/{group:05d}"


def span_path(folder: str, group: int) -> str:
    """Return where a group lies in one file, once it is compacted."""
    return f"{group_folder(folder, group)}/{SPAN}"


def images_path(shard: int) -> str:
    """Return where the image shard lies."""
    return f"{IMAGES}/{shard_file(shard)}"


def instance_folder(instance: str, fingerprint: str) -> str:
    """Return the folder of one configured stage."""
    return f"{instance}/{fingerprint}"


def instance_path(instance: str, fingerprint: str, shard: int) -> str:
    """Return where a stage's own columns for one shard lie."""
    return f"{instance_folder(instance, fingerprint)}/{shard_file(shard)}"


def ingest_folder(seq: int) -> str:
    """Return the folder of one ingest's work list."""
    return f"ingest/{seq:08d}"


def list_path(seq: int, number: int) -> str:
    """Return where one frozen part of a work list lies."""
    return f"{ingest_folder(seq)}/list-{number:08d}.parquet"


def ingest_done_path(seq: int) -> str:
    """Return the file that ends a work list."""
    return f"{ingest_folder(seq)}/done.json"


def pin_path(fit_key: str) -> str:
    """Return the file that names the artefact of a fit."""
    return f"pins/{fit_key}.json"


def artifact_folder(instance: str, digest: str) -> str:
    """Return the folder of a fitted model."""
    return f"artifacts/{instance}/{digest}"


def relation_folder(instance: str, fingerprint: str) -> str:
    """Return the folder of a relation: `edges/` and one folder a shard set."""
    return f"relations/{instance}/{fingerprint}"


def quarantine_path(instance: str, fingerprint: str, name: str) -> str:
    """Return the charge sheet of a task, for example `shard-00000007`."""
    return f"quarantine/{instance}/{fingerprint}/{name}.json"


def snapshot_folder(snapshot: str) -> str:
    """Return the folder of a snapshot."""
    return f"snapshots/{snapshot}"
