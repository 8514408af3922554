"""The split: one for all images of a duplicate group, drawn from the group's content.

Pairs of images are split by their prompt, by the same draw.
"""

import hashlib
from collections.abc import Iterable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from curation.snapshot.config import SplitConfig

TRAIN = "train"
VALIDATION = "validation"
SPLITS = (TRAIN, VALIDATION)

NO_SPLIT = -1


def split_groups(
    group: NDArray[np.int64],
    content: NDArray[np.bytes_],
    current: NDArray[np.bool_],
    config: SplitConfig,
) -> NDArray[np.int8]:
    """Draw the split of every current row that has content.

    The draw is a hash of the smallest content hash of the group over all current rows, kept or not,
    so a group keeps its split while its smallest content stays.

    Args:
        group: (N,), the duplicate group.
        content: `S32`, (N,); empty where there is none.
        current: (N,).
        config: Share and salt.

    Returns:
        int8, (N,), position in `SPLITS` or `NO_SPLIT`.
    """
    split = np.full(len(group), NO_SPLIT, np.int8)
    rows = np.flatnonzero(current & (content != b""))
    if not len(rows):
        return split
    order = rows[np.lexsort((content[rows], group[rows]))]
    starts = np.ones(len(order), bool)
    starts[1:] = np.diff(group[order]) != 0
    drawn = draw_splits([bytes(value) for value in content[order[starts]]], config)
    split[order] = drawn[np.cumsum(starts) - 1]
    return split


def draw_splits(contents: Iterable[bytes], config: SplitConfig) -> NDArray[np.int8]:
    """Return the positions in `SPLITS` that hashes of 32 bytes draw."""
    # Exact, so that the border is the same for every machine.
    limit = int(Fraction(config.validation) * 2**64)
    return np.array([_draw(content, config.salt) < limit for content in contents], np.int8)


def _draw(content: bytes, salt: str) -> int:
    """Return a number below 2 ** 64, uniform over contents.

    `S32` drops zero bytes at the end, hence the padding.
    """
    data = salt.encode() + b"\0" + content.ljust(32, b"\0")
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "big")
