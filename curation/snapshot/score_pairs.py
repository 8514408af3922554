"""Pairs of a snapshot's images of which the one with the higher score is preferred.

What is learnt from them is the scorer's taste, no person's: for trying preferences out, and for a
scorer that one trusts.
"""

import hashlib
import struct
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.dataset import Dataset
from curation.errors import SnapshotError
from curation.snapshot.config import ERNIE_IMAGE_BUCKETS
from curation.snapshot.materialize import nearest_buckets
from curation.snapshot.preferences import prompt_key
from curation.snapshot.read import find_snapshot, read_manifest, read_parts

SOURCE = "aesthetic"

CATEGORY = "category"
"""In place of a kind of caption: images of one category are compared."""

PAIRS = pa.schema(
    [
        pa.field("prompt", pa.string()),
        pa.field("winner", pa.string()),
        pa.field("loser", pa.string()),
        pa.field("source", pa.string()),
        pa.field("margin", pa.float64()),
    ]
)
"""A table of preferences, as `curation.snapshot.preference_table` reads it."""

_STRIDES = 8
"""In the order of a hash each image is compared with so many after it, so that a large group costs
no more than its images."""

_COLUMNS = (
    "image_id",
    "width",
    "height",
    "captions",
    "category_path",
    "aesthetic_score",
    "split",
)


@dataclass(frozen=True)
class _Scored:
    """An image that can be compared."""

    image_id: bytes
    score: float


def score_pairs(
    dataset: Dataset,
    snapshot: str,
    *,
    by: str,
    max_pairs: int = 4,
    min_margin: float = 5.0,
    seed: int = 0,
) -> pa.Table:
    """Compare kept images that share a prompt, an aspect bucket and a split.

    Which pairs there are is drawn by hashes of image_ids, so it depends on nothing else.

    Args:
        dataset: The dataset.
        snapshot: The snapshot's id, or the beginning of it.
        by: Kind of caption that is the prompt, of each image the first of that kind; or `category`,
            whose words are the prompt.
        max_pairs: Of a prompt.
        min_margin: Least difference of scores.
        seed: Of the draw.

    Returns:
        `PAIRS`, by prompt.

    Raises:
        SnapshotError: There is no such snapshot; it has no scores, sizes or such captions; or no
            two images can be compared.
    """
    snapshot = find_snapshot(dataset, snapshot)
    groups = _groups(dataset, snapshot, by, seed)
    rows = []
    for key in sorted(groups):
        prompt, buckets = groups[key]
        for winner, loser in _pairs(buckets, max_pairs, min_margin):
            ids = (str(uuid.UUID(bytes=image.image_id)) for image in (winner, loser))
            rows.append((prompt, *ids, SOURCE, winner.score - loser.score))
    if not rows:
        message = (
            f"snapshot {snapshot}: no two images share a prompt by {by!r}, an aspect bucket and a "
            f"split, and differ in score by {min_margin:g}; compare by another kind of caption or "
            "by category, or lower the margin"
        )
        raise SnapshotError(message)
    columns = list(zip(*rows, strict=True))
    arrays = [pa.array(c, f.type) for c, f in zip(columns, PAIRS, strict=True)]
    return pa.Table.from_arrays(arrays, schema=PAIRS)


def _groups(
    dataset: Dataset, snapshot: str, by: str, seed: int
) -> dict[str, tuple[str, list[list[_Scored]]]]:
    """Return for each prompt its text, and the images of each bucket and split by their hash."""
    found: dict[str, dict[tuple[str, int], list[_Scored]]] = defaultdict(lambda: defaultdict(list))
    prompts: dict[str, str] = {}
    kinds: set[str] = set()
    num_scored = 0
    for part in read_parts(dataset, read_manifest(dataset, snapshot), "data", _COLUMNS):
        known = pc.and_(part["width"].is_valid(), part["height"].is_valid())
        part = part.filter(pc.and_(known, part["aesthetic_score"].is_valid()))
        num_scored += len(part)
        width, height = (
            np.asarray(part[name].to_numpy(), np.int64) for name in ("width", "height")
        )
        buckets = nearest_buckets(width, height, ERNIE_IMAGE_BUCKETS).tolist() if len(part) else []
        for row, bucket in zip(part.to_pylist(), buckets, strict=True):
            captions = row["captions"] or ()
            kinds |= {caption["variant"] for caption in captions}
            if by == CATEGORY:
                prompt = _words(row["category_path"] or "")
            else:
                prompt = next((c["text"] for c in captions if c["variant"] == by), "").strip()
            if key := prompt_key(prompt):
                prompts[key] = min(prompt, prompts.get(key, prompt))
                image = _Scored(row["image_id"], row["aesthetic_score"])
                found[key][row["split"], bucket].append(image)
    if not num_scored:
        message = (
            f"snapshot {snapshot}: no kept image has a score and a size; add `aesthetic: {{}}` and "
            "`inspect: {}` to the stages"
        )
        raise SnapshotError(message)
    if not found:
        message = (
            f"snapshot {snapshot}: no scored image has a prompt by {by!r}; there are "
            f"{', '.join(sorted(kinds)) or 'no captions'}, and {CATEGORY!r}"
        )
        raise SnapshotError(message)
    return {
        key: (
            prompts[key],
            [sorted(of[k], key=lambda i: _hash(seed, i)) for k in sorted(of)],
        )
        for key, of in found.items()
    }


def _words(path: str) -> str:
    """Return a category's words, from the widest to the narrowest."""
    return ", ".join(path.replace("_", " ").split("/"))


def _hash(seed: int, image: _Scored) -> bytes:
    return hashlib.blake2b(image.image_id, digest_size=8, key=struct.pack("<q", seed)).digest()


def _pairs(
    buckets: Sequence[Sequence[_Scored]], max_pairs: int, min_margin: float
) -> Iterator[tuple[_Scored, _Scored]]:
    """Yield winners and losers: neighbours first, so that few images come twice."""
    left = max_pairs
    for stride in range(1, _STRIDES + 1):
        for images in buckets:
            for one, other in zip(images, images[stride:], strict=False):
                if left and one.score != other.score and abs(one.score - other.score) >= min_margin:
                    yield (one, other) if one.score > other.score else (other, one)
                    left -= 1
