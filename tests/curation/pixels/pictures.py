"""Encoding pictures, and looking at them, in tests."""

import io
from collections.abc import Sequence
from typing import Any

from PIL import Image

from curation.pixels import PixelSpec, View, views


def encode(image: Image.Image, format: str, **options: Any) -> bytes:
    """Return `image` as a file."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def show(content: bytes, specs: Sequence[PixelSpec]) -> list[View]:
    """Return the views of a file that must have them."""
    found: list[View] = []
    for view in views(content, specs):
        assert isinstance(view, View), view
        found.append(view)
    return found
