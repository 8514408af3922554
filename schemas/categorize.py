"""What `categorize` writes: the category of every image."""

import pyarrow as pa

from schemas.columns import column, table

CATEGORIZE = table(
    "categorize",
    column(
        "path",
        pa.string(),
        "The category from the root of the tree down, `/`-separated and padded with zeros so that "
        "text order is tree order: `c007/c003/c000`. Null where there is an error.",
    ),
    column(
        "name",
        pa.string(),
        "The names of the categories along `path`, `/`-separated: one to three words that their "
        "images' texts have in common, or the part of `path` where no word tells one apart.",
    ),
    column(
        "leaf",
        pa.int32(),
        "Number of the category among the leaves of the tree, in the order of `path`, from 0.",
    ),
    column(
        "distance",
        pa.float32(),
        "1 - cosine between the image's vector and the centre of its category.",
        unit="0..2",
    ),
    column("error", pa.string(), "`code: text` where the image has no category."),
)
"""One row an image; `path` is what hierarchical sampling groups by."""
