"""What a request to forget concerns: rows, snapshots, and tables that hold bytes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.dataset import Dataset
from curation.errors import UsageError
from curation.forget.request import Request
from curation.ingest.tombstones import Tombstones
from curation.inventory import applied_instances, applied_pipelines
from curation.pipeline.instances import Instance, Registry
from curation.snapshot.read import list_snapshots, read_parts, snapshot_path
from curation.tables import conform, read_table
from schemas.columns import UUID, table
from schemas.images import IMAGES

PHASH = "phash"
"""Name of the column, whoever writes it, that a pHash is compared with."""

_SIDES = ("winner_image_id", "loser_image_id")

_READ = (
    "shard",
    "row",
    "image_id",
    "content_sha256",
    "source_name",
    "source_key",
    "source_ordinal",
    "source_uri",
)
ROWS = table("forgotten", *(IMAGES.field(name) for name in _READ))
"""Rows that are concerned."""


@dataclass(frozen=True)
class Taint:
    """A snapshot that keeps images which are to be forgotten, or has pairs that name them.

    Attributes:
        snapshot: Its id.
        num_images: How many of its kept images are concerned.
        materialized: Folders below it, with bytes or with what was computed from them.
        num_pairs: How many of its pairs of preferred images, kept or not, name one of them.
    """

    snapshot: str
    num_images: int
    materialized: tuple[str, ...]
    num_pairs: int = 0


@dataclass(frozen=True)
class Found:
    """What a request concerns.

    Attributes:
        tombstones: What will be forbidden from now on.
        rows: The rows, as `ROWS`, in order of shard and row.
        num_copies: Further rows with the content of one that is named by its id: they stay.
        num_unknown: Named images that are not in the dataset; they are forbidden all the same.
        taints: The snapshots.
    """

    tombstones: Tombstones
    rows: pa.Table
    num_copies: int
    num_unknown: int
    taints: tuple[Taint, ...]

    @property
    def shards(self) -> list[int]:
        """The shards in which there are such rows."""
        return sorted(pc.unique(self.rows["shard"]).to_pylist())


def find(
    dataset: Dataset,
    request: Request,
    registry: Registry,
    *,
    radius: int = 0,
    everywhere: bool = False,
) -> Found:
    """Look for everything that a request concerns; nothing is changed.

    Every image shard is read once, without the bytes. A pHash stands for the contents that have it
    now, and those are forbidden by their SHA-256: what looks like them and comes later is not.

    Args:
        dataset: The dataset.
        request: What to forget.
        registry: The stages that exist.
        radius: Greatest Hamming distance of a pHash, in bits, at which a picture is the same.
        everywhere: Forget the contents of images that are named by their id, at every place.

    Raises:
        UsageError: A pHash was named, and no applied pipeline has computed any.
    """
    contents = set(request.contents)
    if request.phashes:
        contents |= _like(dataset, registry, request.phashes, radius)
    tombstones = Tombstones(request.image_ids, frozenset(contents))
    rows = _matching(dataset, tombstones)
    by_id = pc.is_in(rows["image_id"], pa.array(sorted(request.image_ids), UUID))
    named = frozenset(rows.filter(by_id)["content_sha256"].drop_null().to_pylist()) - contents
    num_copies = 0
    if named:
        elsewhere = _matching(dataset, Tombstones(frozenset(), named))
        num_copies = len(elsewhere) - pc.sum(by_id).as_py()
        if everywhere:
            tombstones = Tombstones(request.image_ids, frozenset(contents | named))
            rows, num_copies = _matching(dataset, tombstones), 0
    ids = set(rows["image_id"].to_pylist())
    hashes = set(rows["content_sha256"].to_pylist())
    num_unknown = len(request.image_ids - ids) + len(request.contents - hashes)
    return Found(tombstones, rows, num_copies, num_unknown, _taints(dataset, rows["image_id"]))


def _matching(dataset: Dataset, tombstones: Tombstones) -> pa.Table:
    """Return the rows that are forbidden; memory holds one shard and the answer."""
    parts = [ROWS.empty_table()]
    for shard in dataset.image_shards():
        part = dataset.read_images(shard, _READ)
        mask = pc.fill_null(tombstones.mask(part["image_id"], part["content_sha256"]), False)
        parts.append(conform(part.filter(mask), ROWS))
    return pa.concat_tables(parts)


def _like(dataset: Dataset, registry: Registry, phashes: frozenset[int], radius: int) -> set[bytes]:
    """Return the contents of the rows whose pHash is near one of `phashes`."""
    instances = list(_hashing(dataset, registry))
    if not instances:
        message = (
            f"{dataset.store.url}: no applied pipeline has computed a pHash, so none can be looked "
            "for; run a pipeline with `inspect`, or name images by id or SHA-256"
        )
        raise UsageError(message)
    wanted = np.array(sorted(phashes), np.uint64)
    found: set[bytes] = set()
    for instance in instances:
        name = f"{instance.name}_{PHASH}"
        for shard in dataset.instance_shards(instance.name, instance.fingerprint):
            part = dataset.read_instance(instance.name, instance.fingerprint, shard, [name])
            zero: Any = pa.scalar(0, pa.uint64())
            hashes = np.asarray(part[name].fill_null(zero).to_numpy(), np.uint64)
            near = (np.bitwise_count(hashes[:, None] ^ wanted[None]) <= radius).any(axis=1)
            near &= part[name].is_valid().to_numpy()
            if near.any():
                contents = dataset.read_images(shard, ["content_sha256"])["content_sha256"]
                found |= set(contents.filter(pa.array(near)).drop_null().to_pylist())
    return found


def _hashing(dataset: Dataset, registry: Registry) -> Iterator[Instance]:
    seen = set()
    for config in applied_pipelines(dataset).values():
        for instance in applied_instances(dataset, config, registry):
            if instance.is_relation or not instance.is_ready:
                continue
            key = (instance.name, instance.fingerprint)
            if key not in seen and PHASH in instance.make().writes().names:
                seen.add(key)
                yield instance


def _taints(dataset: Dataset, image_ids: pa.ChunkedArray) -> tuple[Taint, ...]:
    wanted = image_ids.combine_chunks()
    taints = []
    for manifest in list_snapshots(dataset):
        count = 0
        for part in read_parts(dataset, manifest, "decisions", ["image_id", "kept"]):
            ids = part.filter(part["kept"])["image_id"]
            count += pc.sum(pc.is_in(ids, wanted)).as_py() or 0
        pairs = 0
        for part in read_parts(dataset, manifest, "preferences", _SIDES):
            named = pc.or_(*(pc.is_in(part[side], wanted) for side in _SIDES))
            pairs += pc.sum(named).as_py() or 0
        if count or pairs:
            folders = tuple(_with_bytes(dataset, manifest.id, wanted))
            taints.append(Taint(manifest.id, count, folders, pairs))
    return tuple(taints)


def _with_bytes(dataset: Dataset, snapshot: str, wanted: pa.Array) -> Iterator[str]:
    """Yield the materialised tables that hold one of the images, and all derived ones.

    What was derived is in formats of its own, so none of it is trusted to be without.
    """
    for folder in dataset.store.names(snapshot_path(snapshot, "materialized")):
        path = snapshot_path(snapshot, f"materialized/{folder}")
        if _holds(dataset, path, wanted):
            yield path
    for folder in dataset.store.names(snapshot_path(snapshot, "derived")):
        yield snapshot_path(snapshot, f"derived/{folder}")


def _holds(dataset: Dataset, folder: str, wanted: pa.Array) -> bool:
    files: Sequence[str] = dataset.store.files(folder)
    return any(
        pc.any(pc.is_in(read_table(dataset.store, name, ["image_id"])["image_id"], wanted)).as_py()
        for name in files
        if name.endswith(".parquet")
    )
