"""How many rows are decoded at a time."""

import pytest

from curation.pipeline.slices import FULL_SLICE_ROWS, SLICE_ROWS, slice_rows
from curation.pixels import PixelSpec


@pytest.mark.parametrize(
    ("sizes", "rows"),
    [((), SLICE_ROWS), ((256,), SLICE_ROWS), ((1024,), 85), ((256, 1024), 80), ((2048,), 21)],
)
def test_large_views_make_short_slices(sizes, rows):
    """The views of a slice take a quarter of a gigabyte at most; those of most stages far less."""
    assert slice_rows([PixelSpec(size_px=size) for size in sizes]) == rows


def test_the_largest_views_come_a_few_at_a_time():
    """As those that show every pixel."""
    assert slice_rows([PixelSpec(size_px=8192)]) == FULL_SLICE_ROWS
    assert slice_rows([PixelSpec(fit="full"), PixelSpec()]) == FULL_SLICE_ROWS
