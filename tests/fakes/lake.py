"""A folder of tiny real images, the same bytes and times whenever it is made."""

import hashlib
import io
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

TIME_NS = 1_700_000_000_000_000_000


def image_bytes(name: str) -> bytes:
    """Make a small PNG or JPEG, as the name's ending says, whose content follows from the name."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])
    generator = np.random.default_rng(seed)
    height, width = generator.integers(6, 24, size=2)
    base = generator.integers(0, 200)
    samples = generator.integers(base, base + 56, size=(height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(samples).save(buffer, "PNG" if name.endswith(".png") else "JPEG")
    return buffer.getvalue()


def write_files(folder: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write files below `folder`, all with the same time."""
    for key, data in files:
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, ns=(TIME_NS, TIME_NS))


def image_keys(num_images: int) -> list[str]:
    """Return keys in three folders, every third one a JPEG."""
    return [f"d{n % 3}/img{n:03d}.{'jpg' if n % 3 == 2 else 'png'}" for n in range(num_images)]


def make_lake(folder: Path, num_images: int) -> Path:
    """Make `num_images` images and three odd files: an empty, a truncated and a repeated one."""
    keys = image_keys(num_images)
    write_files(folder, [(key, image_bytes(key)) for key in keys])
    odd = [
        ("d0/empty.jpg", b""),
        ("d1/short.png", image_bytes("long.png")[:-20]),
        ("d2/twin.png", image_bytes(keys[0])),
    ]
    write_files(folder, odd)
    return folder
