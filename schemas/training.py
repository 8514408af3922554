"""The training table: the kept rows of a snapshot, by reference or with their bytes."""

import pyarrow as pa

from schemas.columns import IDENTITY, column, table

CAPTION = pa.struct(
    [("variant", pa.string()), ("language", pa.string()), ("text", pa.string())],
)
"""One caption: `variant` names its kind (`long`, `short`, `tags`, ...), `language` is BCP 47."""

TRAINING = table(
    "training",
    *IDENTITY,
    column("width", pa.int32(), "Width after orientation; null if nothing inspects.", unit="px"),
    column("height", pa.int32(), "Height after orientation; null if nothing inspects.", unit="px"),
    column("captions", pa.list_(CAPTION), "Captions; empty where there are none."),
    column("category_path", pa.string(), "Category from the root down; null without one."),
    column("aesthetic_score", pa.float32(), "Null without a score.", unit="0..100"),
    column("weight", pa.float64(), "As in `decisions`: describes the sample, no loss weight."),
    column("repeat", pa.int32(), "How often the row stands in one epoch, at least 1."),
    column("split", pa.string(), "`train` or `validation`."),
)
"""One row for each kept image, by shard and row; the bytes stay in the image shards."""

MATERIALIZED = pa.schema(
    [
        *TRAINING,
        column("bucket_width", pa.int32(), "Width of the aspect bucket.", unit="px"),
        column("bucket_height", pa.int32(), "Height of the aspect bucket.", unit="px"),
        column("image_bytes", pa.binary(), "The original file, untouched."),
    ],
    metadata={"table": "materialized"},
)
"""The training table with bytes; a file holds rows of one aspect bucket, by shard and row."""
