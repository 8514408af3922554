"""Random numbers that depend on nothing but their names.

Every draw of the demo corpus comes from a generator seeded by hashing what it is for, for example
`("image", seed, index)`. So a file never depends on which process made it, or on what was made
before it.
"""

import hashlib
import random

import numpy as np


def number(*names: str | int) -> int:
    """Return a 64-bit number that is a pure function of `names`."""
    text = "\x1f".join(str(name) for name in names)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def rolls(*names: str | int) -> random.Random:
    """Return the random generator that belongs to `names`."""
    return random.Random(number(*names))


def array_rolls(rng: random.Random) -> np.random.Generator:
    """Return a numpy generator seeded by one draw from `rng`, for filling arrays."""
    return np.random.Generator(np.random.PCG64(rng.getrandbits(64)))
