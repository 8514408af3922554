"""Pictures into bytes."""

import io
from random import Random
from typing import Any

from PIL import Image


def encode(picture: Image.Image, format: str, **options: Any) -> bytes:
    """Return a picture as a file of a format, written with Pillow's options."""
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def ordinary(picture: Image.Image, format: str, rng: Random) -> bytes:
    """Return a picture as somebody would have saved it; alpha survives only in PNG and WebP."""
    if format == "PNG":
        return encode(picture, "PNG", compress_level=3)
    if format == "WEBP":
        if picture.mode == "RGBA":
            return encode(picture, "WEBP", lossless=True, quality=20, method=1)
        return encode(picture, "WEBP", quality=rng.randint(78, 92), method=1)
    quality = rng.choice((82, 85, 88, 90, 92, 95))
    return encode(picture, "JPEG", quality=quality, progressive=rng.random() < 0.2)


def decoded(data: bytes) -> Image.Image:
    """Return the picture in a file that this module wrote, in RGB or RGBA."""
    with Image.open(io.BytesIO(data)) as file:
        return file.convert("RGBA" if file.has_transparency_data else "RGB")
