"""The images of a snapshot as training sees them: positions, sizes, captions and weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.dataset import Dataset
from curation.errors import SnapshotError
from curation.ingest.tombstones import read_tombstones
from curation.snapshot.config import ERNIE_IMAGE_BUCKETS
from curation.snapshot.materialize import nearest_buckets
from curation.snapshot.read import read_manifest, read_parts
from training.data.captions import CaptionConfig, CaptionDraw

_COLUMNS = ("shard", "row", "image_id", "width", "height", "captions", "category_path", "weight")


@dataclass(frozen=True)
class TrainingTable:
    """The kept rows of one split of a snapshot, by shard and row.

    Attributes:
        dataset: Where it lies.
        snapshot: The snapshot's id.
        split: `train` or `validation`.
        shard: (N,) where the bytes are.
        row: (N,) likewise.
        image_ids: (N,) of 16 bytes.
        repeats: (N,) visits an epoch.
        weights: (N,) as the snapshot says.
        aspect: (N,) position of the nearest of the released sizes.
        categories: (N,) category paths; empty where there is none.
        forbidden: (N,) whether a tombstone came after the snapshot.
        captions: N lists of captions.
    """

    dataset: Dataset
    snapshot: str
    split: str
    shard: NDArray[np.int32]
    row: NDArray[np.int32]
    image_ids: NDArray[np.void]
    repeats: NDArray[np.int32]
    weights: NDArray[np.float64]
    aspect: NDArray[np.int32]
    categories: tuple[str, ...]
    forbidden: NDArray[np.bool_]
    captions: pa.ChunkedArray

    def __len__(self) -> int:
        return len(self.shard)

    def check(self, config: CaptionConfig) -> None:
        """Refuse a snapshot that lacks what a recipe needs.

        Raises:
            SnapshotError: It has no images in this split, or images without a wanted caption.
        """
        where = f"snapshot {self.snapshot}"
        if not len(self):
            message = f"{where}: no image is in the split {self.split!r}; set snapshot.split"
            raise SnapshotError(message)
        if config.without == "refuse":
            draw = CaptionDraw(config, 0)
            lists = self.captions.to_pylist()
            bare = sum(
                1
                for captions, is_forbidden in zip(lists, self.forbidden, strict=True)
                if not is_forbidden and not draw.usable(captions or ())
            )
            if bare:
                kinds = sorted({c["variant"] for captions in lists for c in captions or ()})
                message = (
                    f"{where}: {bare} of {len(self)} images have no caption of the kinds "
                    f"{', '.join(config.variants)}; the snapshot has {', '.join(kinds) or 'none'}: "
                    "add a `caption` stage, change captions.variants, or set captions.without: "
                    "unconditional"
                )
                raise SnapshotError(message)


def read_training_table(dataset: Dataset, snapshot: str, split: str) -> TrainingTable:
    """Read the rows of one split; captions and numbers only, no bytes.

    Raises:
        SnapshotError: There is no such snapshot, or a kept image has no size.
    """
    manifest = read_manifest(dataset, snapshot)
    columns = [*_COLUMNS, "repeat", "split"]
    parts = [
        table.filter(pc.equal(table["split"], split))
        for table in read_parts(dataset, manifest, "data", columns)
    ]
    table = pa.concat_tables(parts)
    if missing := table["width"].null_count:
        message = (
            f"snapshot {snapshot}: {missing} kept images have no size, so they fit no bucket; add "
            "`inspect: {}` to the stages and a predicate `intact: inspect_error IS NULL`"
        )
        raise SnapshotError(message)
    width, height = (np.asarray(table[name].to_numpy(), np.int64) for name in ("width", "height"))
    ids = table["image_id"].to_pylist()
    return TrainingTable(
        dataset,
        snapshot,
        split,
        np.asarray(table["shard"].to_numpy(), np.int32),
        np.asarray(table["row"].to_numpy(), np.int32),
        np.frombuffer(b"".join(ids), "V16"),
        np.asarray(table["repeat"].to_numpy(), np.int32),
        np.asarray(table["weight"].to_numpy(), np.float64),
        nearest_buckets(width, height, ERNIE_IMAGE_BUCKETS).astype(np.int32)
        if len(table)
        else np.zeros(0, np.int32),
        tuple(path or "" for path in table["category_path"].to_pylist()),
        _forbidden(dataset, table, ids),
        table["captions"],
    )


def _forbidden(dataset: Dataset, table: pa.Table, ids: Sequence[Any]) -> NDArray[np.bool_]:
    """Say which rows a tombstone forbids by now; contents are looked up only where some are."""
    tombstones = read_tombstones(dataset)
    mask = np.array([image_id in tombstones.image_ids for image_id in ids], bool)
    if tombstones.contents:
        shards = np.asarray(table["shard"].to_numpy())
        for shard in np.unique(shards).tolist():
            mine = np.flatnonzero(shards == shard)
            contents = dataset.read_images(shard, ["content_sha256"])["content_sha256"]
            rows = table["row"].take(pa.array(mine))
            for place, content in zip(mine, contents.take(rows).to_pylist(), strict=True):
                mask[place] |= content in tombstones.contents
    return mask
