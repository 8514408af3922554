"""Draws of training, keyed by what they are for, so that they depend on nothing else.

Every draw is a pure function of (seed, epoch, image, repeat, purpose): not of the batch that the
sample is in, of the number of ranks, of the device, or of what was drawn before. So a run that was
stopped goes on with the same draws, and one on more GPUs makes them too.
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SampleKey:
    """A visit of an image.

    Attributes:
        epoch: From 0.
        image_id: 16 bytes.
        repeat: Which of the image's visits in the epoch, from 0.
    """

    epoch: int
    image_id: bytes
    repeat: int


def draw_bits(seed: int, key: SampleKey, purpose: str) -> int:
    """Return 64 uniform bits for one purpose.

    Source: keyed BLAKE2b (RFC 7693).
    """
    content = struct.pack("<qq", key.epoch, key.repeat) + key.image_id + purpose.encode()
    data = hashlib.blake2b(content, digest_size=8, key=struct.pack("<q", seed)).digest()
    return int.from_bytes(data, "little")


def draw_uniform(seed: int, key: SampleKey, purpose: str) -> float:
    """Return a number in (0, 1), a multiple of 2^-53 and half of that."""
    return ((draw_bits(seed, key, purpose) >> 11) + 0.5) * 2.0**-53


def draw_uniforms(seed: int, keys: Sequence[SampleKey], purpose: str) -> Tensor:
    """Return (B,) numbers in (0, 1), fp64 on the CPU."""
    return torch.tensor([draw_uniform(seed, key, purpose) for key in keys], dtype=torch.float64)


def draw_normals(
    seed: int, keys: Sequence[SampleKey], purpose: str, shape: tuple[int, ...]
) -> Tensor:
    """Return (B, *shape) of standard normal numbers, fp32 on the CPU.

    Made on the CPU whatever computes: devices' generators differ from each other.
    """
    noise = torch.empty(len(keys), *shape)
    for place, key in enumerate(keys):
        generator = torch.Generator().manual_seed(draw_bits(seed, key, purpose) >> 1)
        noise[place].normal_(generator=generator)
    return noise
