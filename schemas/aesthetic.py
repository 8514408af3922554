"""What `aesthetic` writes: one score, and in a cascade what became of it."""

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

AESTHETIC_CASCADE = table(
    "aesthetic",
    column(
        "score",
        pa.float32(),
        "How good the picture looks to the chosen scorer, where it was asked: null outside the "
        "band, and where there is an error. Never a score of the scorer before it.",
        unit="0..100",
    ),
    column("error", pa.string(), "`code: text` where the image has neither band nor score."),
    column(
        "band",
        pa.string(),
        "Where the score before lies: `inside` the band, so that this scorer was asked, `below` "
        "it, or `above`. Null where there is an error.",
    ),
)
"""One row for each image of a scorer that is asked `after` another one."""
