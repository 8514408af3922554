"""Broken files are broken in the way that truth says."""

import struct
from random import Random

import pytest

from curation.demo.broken import BROKEN
from curation.demo.make import paint
from curation.pixels import PixelSpec, views
from schemas.error_codes import ERROR_CODES, error_code
from tests.curation.demo.plans import geometric


@pytest.fixture(scope="module")
def picture():
    return paint(geometric(size=(240, 180)), seed=1)


@pytest.mark.parametrize("name", BROKEN)
def test_a_reader_arrives_at_the_expected_error(name, picture):
    """For several draws: where a file is cut, or what is flipped in it, is chance."""
    broken = BROKEN[name]
    assert broken.expect_error in ERROR_CODES
    for seed in range(1 if name == "bomb" else 8):
        (found,) = views(broken.make(picture, Random(seed)), [PixelSpec()])
        assert isinstance(found, str), f"draw {seed} of {name} was readable"
        assert error_code(found) == broken.expect_error


@pytest.mark.parametrize("name", BROKEN)
def test_a_draw_gives_the_same_bytes_and_another_draw_others(name, picture):
    """Except for files without bytes, of which there is but one."""
    one, again, other = (BROKEN[name].make(picture, Random(seed)) for seed in (1, 1, 2))

    assert one == again
    assert (one != other) == (name not in ("empty", "jpeg_header_only", "jpeg_no_scan"))


def test_the_bomb_is_small_and_says_that_it_is_huge(picture):
    """Some 400 million pixels in less than 100 KB."""
    data = BROKEN["bomb"].make(picture, Random(1))
    width, height = struct.unpack(">II", data[16:24])

    assert len(data) < 100_000
    assert width * height > 350_000_000
