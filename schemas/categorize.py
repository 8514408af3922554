"""What `categorize` writes: the category of every image."""

import pyarrow as pa

from schemas.columns import column, table

CATEGORIZE = table(
    "categorize",
    column(
        "path",
        pa.string(),
        "The category from the root of the tree down, `/`-separated: `c007/c003/c000`, padded with "
        "zeros so that text order is tree order, or ids of a taxonomy: `animals/dogs/poodle`, and "
        "`other` where none fits. Null where there is an error.",
    ),
    column(
        "name",
        pa.string(),
        "The names of the categories along `path`, `/`-separated: those of the taxonomy; or, of "
        "clusters, one to three words that their images' texts have in common, or the part of "
        "`path` where no word tells one apart.",
    ),
    column(
        "leaf",
        pa.int32(),
        "Number of the category among the leaves of the tree, in the order of `path`, from 0.",
    ),
    column(
        "distance",
        pa.float32(),
        "1 - cosine between the image's vector and that of its category: the centre of a cluster, "
        "the mean of a category's texts. Of the best one refused where the category is `other`.",
        unit="0..2",
    ),
    column("error", pa.string(), "`code: text` where the image has no category."),
)
"""One row an image; `path` is what hierarchical sampling groups by."""

CATEGORIZE_SCORED = table(
    "categorize",
    *(CATEGORIZE.field(name) for name in CATEGORIZE.names if name != "error"),
    column(
        "score",
        pa.float32(),
        "Probability of the best category, as the categorizer was calibrated; that of the best one "
        "refused where the category is `other`.",
        unit="0..1",
    ),
    column(
        "margin",
        pa.float32(),
        "`score` less the probability of the second-best category.",
        unit="0..1",
    ),
    CATEGORIZE.field("error"),
)
"""What categorizers write that know how sure they are; clusters are not, and stay as they are."""
