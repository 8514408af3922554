"""Thumbnails for people."""

import io

import numpy as np
from PIL import Image

from curation.pixels.encode import encode_webp


def test_pixels_come_back_about_as_they_were():
    """A smooth picture survives, in its size."""
    across = np.linspace(20, 220, 60, dtype=np.uint8)
    pixels = np.broadcast_to(across[None, :, None], (40, 60, 3)).copy()

    image = Image.open(io.BytesIO(encode_webp(pixels)))

    assert (image.format, image.mode, image.size) == ("WEBP", "RGB", (60, 40))
    assert np.abs(np.asarray(image).astype(int) - pixels).mean() < 3


def test_the_file_has_no_metadata():
    """Nothing but the picture is in it."""
    image = Image.open(io.BytesIO(encode_webp(np.zeros((8, 8, 3), np.uint8))))

    assert {"exif", "icc_profile", "xmp"} & set(image.info) == set()
