"""Formats are recognised by their bytes, and sizes read where opening would allocate."""

import numpy as np
import pytest
from PIL import Image
from skimage import data

from curation.pixels.formats import OPENERS, declared_size, recognise
from tests.curation.pixels.pictures import encode


@pytest.mark.parametrize("format", OPENERS)
def test_what_pillow_writes_is_recognised(format):
    """Every format that is opened is found by its first bytes."""
    assert recognise(encode(Image.fromarray(data.coffee()), format)) == format


@pytest.mark.parametrize("format", ["EPS", "PDF", "ICO", "TGA", "JPEG2000", "PCX", "SGI", "DDS"])
def test_other_formats_are_not(format):
    """What is not on the list is not recognised, though Pillow could open it."""
    assert recognise(encode(Image.fromarray(data.coffee()).resize((64, 64)), format)) is None


@pytest.mark.parametrize(
    "content", [b"", b"B", b"P", b"P6", b"P7 ", b"RIFF1234WAVE", b"\0\0\0\x18ftypheic"]
)
def test_short_and_foreign_beginnings_are_nothing(content):
    """No prefix is read beyond its end, and containers of other things are refused."""
    assert recognise(content) is None


@pytest.mark.parametrize("size", [(1, 1), (17, 300), (640, 33)])
@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("GIF", {}),
        ("WEBP", {"quality": 50}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"}),
    ],
)
def test_the_declared_size_is_the_size(format, options, size):
    """All three headers of WEBP and that of GIF are understood."""
    pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8)

    assert declared_size(format, encode(Image.fromarray(pixels), format, **options)) == size
