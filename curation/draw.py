"""Draws that every machine repeats: hashes of an image's identity and a seed."""

import hashlib
import struct
from collections.abc import Iterable

import numpy as np


def draw_hashes(image_ids: Iterable[bytes], seed: int) -> np.ndarray:
    """Hash each image id with `seed`.

    Args:
        image_ids: 16-byte identifiers.
        seed: Any signed 64-bit integer; another seed gives an independent draw.

    Returns:
        uint64 array, uniform over the whole range, the same on every machine.

    Source: keyed BLAKE2b (RFC 7693) of the id, first 8 bytes, little-endian.
    """
    key = struct.pack("<q", seed)
    data = b"".join(hashlib.blake2b(i, digest_size=8, key=key).digest() for i in image_ids)
    return np.frombuffer(data, dtype="<u8")
