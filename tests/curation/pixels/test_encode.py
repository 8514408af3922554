"""Thumbnails for people."""

import io

import numpy as np
import pytest
from PIL import Image

from curation.pixels.encode import encode_jpeg, encode_webp

ENCODERS = [("WEBP", encode_webp), ("JPEG", encode_jpeg)]


@pytest.mark.parametrize(("format", "encode"), ENCODERS)
def test_pixels_come_back_about_as_they_were(format, encode):
    """A smooth picture survives, in its size."""
    across = np.linspace(20, 220, 60, dtype=np.uint8)
    pixels = np.broadcast_to(across[None, :, None], (40, 60, 3)).copy()

    image = Image.open(io.BytesIO(encode(pixels)))

    assert (image.format, image.mode, image.size) == (format, "RGB", (60, 40))
    assert np.abs(np.asarray(image).astype(int) - pixels).mean() < 3


@pytest.mark.parametrize(("format", "encode"), ENCODERS)
def test_the_file_has_no_metadata(format, encode):
    """Nothing but the picture is in it."""
    image = Image.open(io.BytesIO(encode(np.zeros((8, 8, 3), np.uint8))))

    assert image.format == format
    assert {"exif", "icc_profile", "xmp"} & set(image.info) == set()
