"""The body of a request: the words, one image, and what the answer must look like."""

import base64
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from curation.pixels.encode import encode_jpeg, encode_png
from stages.caption.proof import PROBE_PX

ImageFormat = Literal["jpeg", "png"]


def encoded(pixels: NDArray[np.uint8], format: ImageFormat, quality: int) -> bytes:
    """Encode a view as it is sent: JPEG with colour in full, or PNG."""
    if format == "png":
        return encode_png(pixels)
    return encode_jpeg(pixels, quality, full_color=True)


def messages(
    system: str, user: str, image: bytes | None, format: ImageFormat
) -> list[dict[str, Any]]:
    """Return the messages of a request, the image before the words about it.

    Args:
        system: The system message.
        user: The words.
        image: The file; null for none, which only a proof asks for.
        format: Its format.
    """
    content: list[dict[str, Any]] = []
    if image is not None:
        url = f"data:image/{format};base64,{base64.b64encode(image).decode()}"
        content.append({"type": "image_url", "image_url": {"url": url}})
    content.append({"type": "text", "text": user})
    return [{"role": "system", "content": system}, {"role": "user", "content": content}]


def assert_shows(body: Mapping[str, Any], image: bytes) -> None:
    """Assert that a request holds one image, and that it is this one to the last byte."""
    parts = [
        part
        for message in body["messages"]
        if isinstance(message["content"], list)
        for part in message["content"]
        if part["type"] == "image_url"
    ]
    assert len(parts) == 1, "a caption's request has one image"
    data = parts[0]["image_url"]["url"].partition(";base64,")[2]
    assert image, "an image has bytes"
    assert base64.b64decode(data, validate=True) == image, "it is the row's own"


def response_format(kind: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return what makes a server hold the model to a schema; nothing for plain text."""
    if kind == "json_schema":
        held = {"name": "caption", "strict": True, "schema": dict(schema)}
        return {"response_format": {"type": "json_schema", "json_schema": held}}
    if kind == "json_object":
        return {"response_format": {"type": "json_object"}}
    return {}


def probe_pictures(format: ImageFormat, quality: int) -> tuple[bytes, bytes]:
    """Return two pictures of one size: of one colour, and with a few thousand bytes of noise."""
    plain = np.full((PROBE_PX, PROBE_PX, 3), (90, 140, 200), np.uint8)
    busy = plain.copy()
    numbers = np.arange(32 * 32 * 3, dtype=np.uint32)
    noise = (numbers * np.uint32(2654435761) >> np.uint32(24)).astype(np.uint8)
    busy[208:240, 208:240] = noise.reshape(32, 32, 3)
    return encoded(plain, format, quality), encoded(busy, format, quality)
