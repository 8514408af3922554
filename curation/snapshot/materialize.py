"""The training table with bytes, grouped by aspect bucket, in files of a good size."""

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.config import Config, validate
from curation.dataset import Dataset
from curation.errors import SnapshotError
from curation.fingerprint import digest, pretty_json
from curation.ingest.load import LOAD_COLUMNS, load_bytes
from curation.snapshot.config import Bucket, MaterializeConfig
from curation.snapshot.manifest import FileInfo
from curation.snapshot.read import (
    MANIFEST,
    find_snapshot,
    read_manifest,
    read_parts,
    snapshot_path,
)
from curation.tables import conform, to_parquet
from schemas.training import MATERIALIZED

FORMAT = "longtail-materialized-1"


class MaterializedManifest(Config):
    """The content of `materialized/<digest>/manifest.json`; without it the folder is unfinished.

    Attributes:
        format: Version of this structure.
        snapshot: Id of the snapshot.
        digest: Hash of the snapshot's id and the configuration; the folder's name.
        config: How the table was written.
        buckets: `<width>x<height>` -> images.
        files: Name below the folder -> file.
    """

    format: str = FORMAT
    snapshot: str
    digest: str
    config: MaterializeConfig
    buckets: dict[str, int]
    files: dict[str, FileInfo]


def materialize_snapshot(
    dataset: Dataset,
    snapshot: str,
    config: MaterializeConfig,
    protocols: Sequence[str] = ("file",),
) -> MaterializedManifest:
    """Write the training table with bytes; nothing else is changed.

    Shards are read once, in order, and one file a bucket is held in memory. Called again after it
    was killed, it writes the same files again; finished, it finds the manifest and writes nothing.

    Args:
        dataset: The dataset.
        snapshot: The snapshot's id, or the beginning of it.
        config: Buckets and sizes.
        protocols: fsspec protocols that originals left in place may be read by.

    Raises:
        SnapshotError: There is no such snapshot; a size is not known; or an original is gone or
            changed.
    """
    snapshot = find_snapshot(dataset, snapshot)
    name = digest(
        {"format": FORMAT, "snapshot": snapshot, "config": config.model_dump(mode="json")}
    )
    folder = snapshot_path(snapshot, f"materialized/{name}")
    path = f"{folder}/{MANIFEST}"
    if not dataset.store.exists(path):
        plan = _Plan(dataset, snapshot, config)
        files = {}
        for file, table in plan.tables(tuple(protocols)):
            data = to_parquet(table)
            dataset.store.put(f"{folder}/{file}", data)
            files[file] = FileInfo(
                num_bytes=len(data), num_rows=len(table), sha256=hashlib.sha256(data).hexdigest()
            )
        manifest = MaterializedManifest(
            snapshot=snapshot, digest=name, config=config, buckets=plan.counts(), files=files
        )
        dataset.store.create(path, pretty_json(manifest.model_dump(mode="json")))
    value: dict[str, Any] = json.loads(dataset.store.read(path))
    return validate(MaterializedManifest, value, dataset.store.uri(path))


def nearest_buckets(
    width: NDArray[np.int64], height: NDArray[np.int64], buckets: Sequence[Bucket]
) -> NDArray[np.int64]:
    """Return for each image the position of the bucket nearest in aspect ratio.

    Near is the ratio of the two ratios, the larger over the smaller; of equals the earlier wins.
    Products of sizes are exact in float64 and division is correctly rounded, so every machine
    agrees.
    """
    distances = []
    for bucket_width, bucket_height in buckets:
        wide = width.astype(np.float64) * bucket_height
        tall = height.astype(np.float64) * bucket_width
        distances.append(np.maximum(wide, tall) / np.minimum(wide, tall))
    return np.asarray(np.argmin(np.stack(distances), axis=0), np.int64)


class _Plan:
    """Which kept row goes to which file, decided from sizes before any bytes are read."""

    def __init__(self, dataset: Dataset, snapshot: str, config: MaterializeConfig) -> None:
        self._dataset = dataset
        self._buckets = config.buckets
        manifest = read_manifest(dataset, snapshot)
        self._rows = pa.concat_tables(read_parts(dataset, manifest, "data"))
        if self._rows["width"].null_count or self._rows["height"].null_count:
            message = (
                f"snapshot {snapshot}: {self._rows['width'].null_count} kept images have no size, "
                "so they fit no bucket; add `inspect: {}` to the stages and a predicate "
                "`intact: inspect_error IS NULL`"
            )
            raise SnapshotError(message)
        width, height = (self._rows[name].to_numpy() for name in ("width", "height"))
        self._bucket = nearest_buckets(width, height, self._buckets)
        self._file = self._cut(config.file_bytes)

    def counts(self) -> dict[str, int]:
        """Return `<width>x<height>` -> images, for buckets that have any."""
        found = np.bincount(self._bucket, minlength=len(self._buckets))
        return {self._name(place): int(count) for place, count in enumerate(found) if count}

    def tables(self, protocols: tuple[str, ...]) -> Iterator[tuple[str, pa.Table]]:
        """Yield file names and tables, each as soon as its last row is read."""
        places = zip(self._bucket, self._file, strict=True)
        last = {place: row for row, place in enumerate(places)}
        open_files: dict[tuple[int, int], list[pa.Table]] = {}
        for start, stop in self._shard_bounds():
            table = self._with_bytes(start, stop, protocols)
            keys = list(zip(self._bucket[start:stop], self._file[start:stop], strict=True))
            for key in sorted(set(keys)):
                mine = pa.array([other == key for other in keys])
                open_files.setdefault(key, []).append(table.filter(mine))
                if last[key] < stop:
                    bucket, file = key
                    name = f"{self._name(bucket)}/part-{file:05d}.parquet"
                    yield name, pa.concat_tables(open_files.pop(key)).combine_chunks()

    def _name(self, bucket: int) -> str:
        width, height = self._buckets[bucket]
        return f"{width}x{height}"

    def _cut(self, file_bytes: int) -> NDArray[np.int64]:
        """Number the files of each bucket, all of about the same size."""
        parts = [self._sizes(start, stop) for start, stop in self._shard_bounds()]
        sizes = np.concatenate([np.zeros(0, np.int64), *parts])
        file = np.zeros(len(sizes), np.int64)
        for bucket in range(len(self._buckets)):
            mine = self._bucket == bucket
            before = np.cumsum(sizes[mine]) - sizes[mine]
            total = int(sizes[mine].sum())
            count = max(1, round(total / file_bytes))
            file[mine] = before * count // max(total, 1)
        return file

    def _shard_bounds(self) -> list[tuple[int, int]]:
        shard = self._rows["shard"].to_numpy()
        bounds = [0, *(np.flatnonzero(np.diff(shard)) + 1).tolist(), len(shard)]
        return [(a, b) for a, b in itertools.pairwise(bounds) if a < b]

    def _sizes(self, start: int, stop: int) -> NDArray[np.int64]:
        images = self._images(start, stop, ["num_bytes"])
        return np.asarray(pc.fill_null(images["num_bytes"], 0).to_numpy(), np.int64)

    def _images(self, start: int, stop: int, columns: Sequence[str]) -> pa.Table:
        """Read columns of the image rows behind the training rows of one shard."""
        part = self._rows.slice(start, stop - start)
        shard = part["shard"][0].as_py()
        return self._dataset.read_images(shard, list(columns)).take(part["row"].combine_chunks())

    def _with_bytes(self, start: int, stop: int, protocols: tuple[str, ...]) -> pa.Table:
        part = self._rows.slice(start, stop - start)
        images = self._images(start, stop, LOAD_COLUMNS)
        loaded = load_bytes(images, protocols)
        for row, data in zip(part["row"].to_pylist(), loaded, strict=True):
            if isinstance(data, str):
                shard = part["shard"][0].as_py()
                message = (
                    f"shard {shard}, row {row}: a kept image cannot be read ({data}); restore the "
                    "original, or make a snapshot without it"
                )
                raise SnapshotError(message)
        sizes = [self._buckets[place] for place in self._bucket[start:stop]]
        part = part.append_column("bucket_width", pa.array([w for w, _ in sizes], pa.int32()))
        part = part.append_column("bucket_height", pa.array([h for _, h in sizes], pa.int32()))
        part = part.append_column("image_bytes", pa.array(loaded, pa.binary()))
        return conform(part, MATERIALIZED)
