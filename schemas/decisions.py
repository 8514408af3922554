"""What a snapshot decided about every row, and why."""

import pyarrow as pa

from schemas.columns import IDENTITY, column, table

DECISIONS = table(
    "decisions",
    *IDENTITY,
    column("kept", pa.bool_(), "Whether the row is in the snapshot."),
    column(
        "reason",
        pa.string(),
        "Why the row is out, the first that applies: `superseded`, `tombstoned`, `unreadable`, "
        "`pending:<instance>`, `quarantined:<instance>`, the name of a predicate (with `:unknown` "
        "where it was null), `split_moved`, `duplicate` or `unsampled`. Null for a kept row.",
    ),
    column(
        "reasons",
        pa.list_(pa.string()),
        "All reasons that apply, in the same order; empty for a kept row.",
    ),
    column("repeat", pa.int32(), "How often the row stands in one epoch; 0 where it is out."),
    column(
        "weight",
        pa.float64(),
        "Sampling weight: how many candidates one repeat stands for, so that sums of repeat * "
        "weight estimate counts before sampling. It describes the sample and is no loss weight. "
        "Null where the row is out.",
    ),
    column(
        "split",
        pa.string(),
        "`train` or `validation`, the same for all rows of a duplicate group; null for rows that "
        "are superseded or have no content.",
    ),
    column("category_path", pa.string(), "Category from the root down; null without one."),
)
"""One row for each listed row of the dataset, by shard and row. `image_id` is null for rows of a
shard that was never taken in: they are known from the ingest's list only."""
