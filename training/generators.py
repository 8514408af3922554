"""torch's generators of a rank, for what a library draws: our own draws are keyed instead.

numpy's and Python's are not used in training.
"""

import hashlib
import struct
from collections.abc import Mapping

import torch
from torch import Tensor


def seed_generators(seed: int, rank: int) -> None:
    """Seed this rank's generators, each rank's otherwise.

    Source: keyed BLAKE2b (RFC 7693).
    """
    key = struct.pack("<q", seed)
    data = hashlib.blake2b(struct.pack("<q", rank), digest_size=8, key=key).digest()
    torch.manual_seed(int.from_bytes(data, "little") >> 1)


def generator_states() -> dict[str, Tensor]:
    """Return copies of the states of those that are in use: `cpu`, and `cuda` of this device."""
    found = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_initialized():
        found["cuda"] = torch.cuda.get_rng_state()
    return found


def restore_generators(states: Mapping[str, Tensor]) -> None:
    """Put back what `generator_states` returned."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"])
