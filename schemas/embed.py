"""What `embed` writes: one vector an image."""

import pyarrow as pa

from schemas.columns import column, table


def embed_table(dimension: int) -> pa.Schema:
    """Return the columns of `embed` for vectors of `dimension` numbers.

    The length is part of the type, so that a reader can map a shard's vectors as one matrix.
    """
    return table(
        "embed",
        column(
            "vector",
            pa.list_(pa.field("element", pa.float16()), dimension),  # the name that Parquet gives
            "What the image looks like, scaled to length 1 and then rounded to half precision: the "
            "inner product of two vectors is their cosine, to 0.001. Null where there is an error.",
            unit="-1..1",
        ),
        column("error", pa.string(), "`code: text` where the image has no vector."),
    )
