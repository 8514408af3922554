"""What `dedup` keeps for a pair of blocks, and what it says about every row."""

import pyarrow as pa

from schemas.columns import UUID, column, table

DEDUP_EDGES = table(
    "dedup_edges",
    column("left_shard", pa.int32(), "Shard of the first row."),
    column("left_row", pa.int32(), "Position of the first row in its shard."),
    column("left_image_id", UUID, "Identity of the first row.", logical="uuid"),
    column("right_shard", pa.int32(), "Shard of the second row."),
    column("right_row", pa.int32(), "Position of the second row in its shard."),
    column("right_image_id", UUID, "Identity of the second row.", logical="uuid"),
    column("distance", pa.int16(), "Hamming distance of the two perceptual hashes.", unit="bits"),
)
"""One row for each pair of different hashes that are near; rows of a block with the same hashes are
stood for by the first of them, and rows with the same content need no edge."""

DEDUP = table(
    "dedup",
    column(
        "group",
        UUID,
        "Smallest image_id of the duplicate group; a row without duplicates is its own group.",
        logical="uuid",
    ),
    column(
        "distance",
        pa.int16(),
        "How near the nearest row of the group is that this row was linked to directly: 0 for the "
        "same content or the same hashes, else the Hamming distance of the perceptual hashes. Null "
        "for a row without duplicates.",
        unit="bits",
    ),
    column(
        "method",
        pa.string(),
        "`exact` where another row has the same content, else `perceptual` where another row is "
        "near; null for a row without duplicates.",
    ),
    column(
        "error",
        pa.string(),
        "`code: text` where the row has no hash and was compared by its content only, or has no "
        "content either and was not compared.",
    ),
)
"""One row for each image row."""
