"""What `aesthetic` writes: one score."""

import pyarrow as pa

from schemas.columns import column, table

AESTHETIC = table(
    "aesthetic",
    column(
        "score",
        pa.float32(),
        "How good the picture looks to the chosen scorer; scores of two scorers do not compare. "
        "Null where there is an error.",
        unit="0..100",
    ),
    column("error", pa.string(), "`code: text` where the image has no score."),
)
"""One row for each image."""
