"""Views encoded again, for people or for a server to look at; nothing kept but their pixels."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_EFFORT = 4  # of 0 to 6: slower is smaller


def encode_webp(pixels: NDArray[np.uint8], quality: int = 75) -> bytes:
    """Encode a view as WebP, without EXIF, profile or any other metadata.

    Args:
        pixels: (height, width, 3) sRGB, uint8; at most 16,383 either way.
        quality: 0 to 100; 75 is good for thumbnails.
    """
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "WEBP", quality=quality, method=_EFFORT)
    return sink.getvalue()


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode a view as PNG, which loses nothing, without any metadata; fast rather than small.

    Args:
        pixels: (height, width, 3) sRGB, uint8.
    """
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG", compress_level=1)
    return sink.getvalue()


def encode_jpeg(pixels: NDArray[np.uint8], quality: int = 80) -> bytes:
    """Encode a view as a baseline JPEG, without EXIF, profile or any other metadata.

    Args:
        pixels: (height, width, 3) sRGB, uint8; at most 65,500 either way.
        quality: 1 to 95; 80 is good for thumbnails. Colour is halved in resolution (4:2:0).
    """
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "JPEG", quality=quality, subsampling="4:2:0", optimize=True)
    return sink.getvalue()
