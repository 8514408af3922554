"""What `thumbnail` writes: a small picture."""

import pyarrow as pa

from schemas.columns import column, table

THUMBNAIL = table(
    "thumbnail",
    column(
        "image",
        pa.binary(),
        "The picture made small, upright, in sRGB and encoded again, so that nothing of the "
        "original file but its pixels is in it. Null where there is an error.",
    ),
    column("width", pa.int32(), "Pixels across, of the thumbnail.", unit="px"),
    column("height", pa.int32(), "Pixels down, of the thumbnail.", unit="px"),
    column("error", pa.string(), "`code: text` where the image has no thumbnail."),
)
"""One row for each image."""
