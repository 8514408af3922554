"""Odd files are valid, and odd in the way that truth says."""

import io
from random import Random

import pytest
from PIL import Image

from curation.demo.make import paint
from curation.demo.odd import ODD
from curation.pixels import PixelSpec, View, views
from tests.curation.demo.plans import geometric

MADE = {name: odd.make for name, odd in ODD.items() if odd.make}
MODES = {
    "png_16_bit": "I;16",
    "png_palette": "P",
    "png_1_bit": "1",
    "png_grey_alpha": "LA",
    "jpeg_cmyk": "CMYK",
    "jpeg_grey": "L",
}


@pytest.fixture(scope="module")
def picture():
    return paint(geometric(), seed=1)


@pytest.mark.parametrize("name", MADE)
def test_an_odd_file_can_be_read(name, picture):
    """By our own reader, and in the format that is stated."""
    data = MADE[name](picture, Random(1))
    (view,) = views(data, [PixelSpec()])

    assert isinstance(view, View), view
    assert view.header.format == ODD[name].format
    assert (view.header.num_frames > 1) == name.endswith("_animated")


@pytest.mark.parametrize("name", MODES)
def test_pixels_are_stored_in_the_mode_that_the_name_promises(name, picture):
    """As Pillow calls it."""
    with Image.open(io.BytesIO(MADE[name](picture, Random(1)))) as file:
        assert file.mode == MODES[name]


def test_extensions_that_lie():
    """A PNG called .jpg and a JPEG called .png."""
    assert (ODD["png_named_jpg"].format, ODD["png_named_jpg"].extension) == ("PNG", "jpg")
    assert (ODD["jpeg_named_png"].format, ODD["jpeg_named_png"].extension) == ("JPEG", "png")


def test_a_jpeg_that_lies_on_its_side_stands_up_when_read(picture):
    """Whatever the orientation drawn."""
    for seed in range(6):
        (view,) = views(MADE["jpeg_exif"](picture, Random(seed)), [PixelSpec()])
        assert isinstance(view, View)
        assert (view.header.width, view.header.height) == picture.size
        assert view.header.orientation != 1
