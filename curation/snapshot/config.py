"""The `snapshot:` section of a pipeline."""

import re
from typing import Any

from pydantic import Field, field_validator

from curation.config import Config

RESERVED_REASONS = frozenset(
    {
        "duplicate",
        "pending",
        "quarantined",
        "split_moved",
        "superseded",
        "tombstoned",
        "unreadable",
        "unsampled",
    }
)
"""Reasons that snapshots give themselves, so no predicate may be called by them."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")

Bucket = tuple[int, int]
"""Width and height of an aspect bucket in pixels."""

ERNIE_IMAGE_BUCKETS: tuple[Bucket, ...] = (
    (1024, 1024),
    (848, 1264),
    (1264, 848),
    (768, 1376),
    (1376, 768),
    (896, 1200),
    (1200, 896),
)
"""The sizes at which ERNIE-Image is offered for inference.

Source: the model card of baidu/ERNIE-Image; its training buckets are not published.
"""


class SplitConfig(Config):
    """How images are split.

    Attributes:
        validation: Share of duplicate groups that go to `validation`, in 0..1. A larger share
            contains the smaller one.
        salt: Changing it draws another split.
    """

    validation: float = Field(default=0.0, ge=0, le=1)
    salt: str = "longtail"


class MaterializeConfig(Config):
    """How the training table is written with its bytes.

    Attributes:
        buckets: Sizes in pixels; an image goes to the one nearest in aspect ratio.
        file_bytes: Image bytes of one file, about. One file a bucket is held in memory.
    """

    buckets: tuple[Bucket, ...] = Field(default=ERNIE_IMAGE_BUCKETS, min_length=1)
    file_bytes: int = Field(default=256 << 20, ge=1 << 16, le=512 << 20)

    @field_validator("buckets")
    @classmethod
    def _positive(cls, buckets: tuple[Bucket, ...]) -> tuple[Bucket, ...]:
        if any(width <= 0 or height <= 0 for width, height in buckets):
            message = "a bucket is [WIDTH, HEIGHT] in pixels, both above 0"
            raise ValueError(message)
        if len(set(buckets)) < len(buckets):
            message = "a bucket stands here twice"
            raise ValueError(message)
        return buckets


class SnapshotConfig(Config):
    """What a snapshot keeps.

    Attributes:
        where: Name -> SQL expression over the columns; a row is kept where all are true. The first
            that is false gives the row's reason; null counts as failed with `<name>:unknown`.
        sample: The sampler's own configuration; null keeps every survivor once.
        representative: SQL expressions, the most important first, that choose the representative
            of a duplicate group: the largest value wins, null loses, then the smallest image_id.
            Null for pixel area, then aesthetic score, as far as the pipeline has them.
        split: How images are split.
        inputs: Stage -> instance that sizes (`inspect`), scores (`aesthetic`), categories
            (`categorize`) and duplicate groups (`dedup`) come from, where a stage has several.
        materialize: How the training table is written with its bytes.
        on_publish: What publishing triggers, for example `train: CONFIG.yaml`.
    """

    where: dict[str, str] = {}
    sample: dict[str, Any] | None = None
    representative: tuple[str, ...] | None = None
    split: SplitConfig = SplitConfig()
    inputs: dict[str, str] = {}
    materialize: MaterializeConfig = MaterializeConfig()
    on_publish: dict[str, str] = {}

    @field_validator("where")
    @classmethod
    def _plain(cls, where: dict[str, str]) -> dict[str, str]:
        for name in where:
            if not _NAME.fullmatch(name):
                message = f"{name!r}: a predicate's name has lower-case letters, digits and '_'"
                raise ValueError(message)
            if name in RESERVED_REASONS:
                message = f"{name!r} is a reason that snapshots give; choose another name"
                raise ValueError(message)
        return where
