"""The sizes in which pictures are encoded: the released ones, scaled to another area."""

import math
from collections.abc import Sequence

from curation.pixels import PixelSpec
from curation.snapshot.config import ERNIE_IMAGE_BUCKETS, Bucket

REFERENCE_EDGE_PX = 1024
"""The released sizes have about the area of a square of this edge."""

GRID_PX = 16


def scaled_buckets(
    edge_px: int, stride: int, buckets: Sequence[Bucket] = ERNIE_IMAGE_BUCKETS
) -> tuple[Bucket, ...]:
    """Return the sizes for another area, one for each of `buckets`.

    Args:
        edge_px: Edge of the square of the wanted area.
        stride: The codec's; edges become multiples of it and of 16 px, at least one of them.
        buckets: Sizes with about the area of 1024 x 1024.
    """
    unit = math.lcm(stride, GRID_PX)
    return tuple(
        (_rounded(width * edge_px, unit), _rounded(height * edge_px, unit))
        for width, height in buckets
    )


def bucket_spec(bucket: Bucket) -> PixelSpec:
    """Return how a picture is seen in the size of one bucket."""
    width, height = bucket
    return PixelSpec(size_px=width, height_px=height, fit="cover", filter="lanczos")


def any_bucket_spec(edge_px: int, stride: int) -> PixelSpec:
    """Return how pictures are seen, each in the size of the bucket that is nearest to it.

    The view is that of `bucket_spec` for that bucket, to the bit: the released sizes are lying and
    upright in pairs.
    """
    sizes = scaled_buckets(edge_px, stride)
    return PixelSpec(
        size_px=max(max(size) for size in sizes),
        boxes=tuple(zip(ERNIE_IMAGE_BUCKETS, sizes, strict=True)),
        fit="cover",
        filter="lanczos",
    )


def _rounded(scaled: int, unit: int) -> int:
    """Return scaled / 1024 as a multiple of `unit`, the nearest, halves up."""
    whole = REFERENCE_EDGE_PX * unit
    return max(1, (2 * scaled + whole) // (2 * whole)) * unit
