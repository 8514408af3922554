"""A small server's settings, and requests with a picture in them."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from curation.endpoint.vllm_settings import ServerSettings

NAME = "tiny-qwen-vl"
SETTINGS = ServerSettings(enforce_eager=True, cpu_cache_gib=1, start_timeout_s=240)
OPTIONS = ("--max-model-len", "4096")


def picture(seed: int, width: int = 96, height: int = 64) -> str:
    """Return a PNG of noise as a data URL."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def asking(*pictures: str, text: str = "Describe the image.", **more: Any) -> dict[str, Any]:
    """Return a request that shows pictures, asks for the likeliest words, and what `more` says."""
    content: Sequence[dict[str, Any]] = [
        *({"type": "image_url", "image_url": {"url": url}} for url in pictures),
        {"type": "text", "text": text},
    ]
    return {"messages": [{"role": "user", "content": content}], "temperature": 0, **more}
