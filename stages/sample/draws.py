"""Which images of a category are drawn: the ones with the largest keys.

Every image gets a key, its score over the temperature plus Gumbel noise made from a hash of its id.
The m largest keys are a draw of m without replacement in which each next image is taken with
probability proportional to `exp(score / T)`. Unlike a shuffle, keys do not depend on the other
images: a larger sample contains the smaller one, and new images push out only the weakest.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.draw import draw_hashes
from curation.snapshot.sampler import SCORE_SCALE

_KEY_SCALE = 2.0**32
"""Keys are integers in units of 2 ** -32, ties between them go to the smaller image id.

`numpy.log` may differ in the last bits from one kind of CPU to the next. That is 1e-14 at most here
and changes a decision only where two keys beside the threshold lie next to each other too: by
estimate once in millions of snapshots of 10 million images, if CPUs differ.
"""

_WEIGHT_BITS = 12
"""Sampling weights are rounded to this many bits, so that the last bits of `numpy.exp` do not show
in a digest: by estimate once in 10,000 snapshots of 10 million images, if CPUs differ."""


def draw_keys(
    image_id: NDArray[np.uint8],
    score: NDArray[np.int64],
    temperature: float,
    seed: int,
    copy: int = 0,
) -> NDArray[np.int64]:
    """Return the key of one copy of each image; the largest are drawn.

    Args:
        image_id: uint8, (N, 16).
        score: int64, (N,), in units of 1 / `SCORE_SCALE`.
        temperature: In points of the score.
        seed: The draw's seed.
        copy: 0 for an image's first place, 1 and up for its repeats.

    Source: Gumbel-max trick for sampling without replacement (Kool et al., 2019, equation 6); the
    same as exponential keys (Efraimidis and Spirakis, 2006).
    """
    hashes = draw_hashes((bytes(row) for row in image_id), seed)
    if copy:
        hashes = _mix(hashes + np.uint64(copy * 0x9E3779B97F4A7C15 % 2**64))
    # An odd number of 53 bits over 2 ** 53: exact, never 0, never 1.
    uniform = ((hashes >> np.uint64(12)) * np.uint64(2) + np.uint64(1)) / 2.0**53
    gumbel = -np.log(-np.log(uniform))
    keys = score / (SCORE_SCALE * temperature) + gumbel
    return np.rint(keys * _KEY_SCALE).astype(np.int64)


def take_largest(
    leaf: NDArray[np.int32],
    keys: NDArray[np.int64],
    image_id: NDArray[np.uint8],
    num_draws: NDArray[np.int64],
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Take the `num_draws[leaf]` largest keys of every leaf.

    Args:
        leaf: (N,), number of the leaf that an item belongs to.
        keys: (N,).
        image_id: uint8, (N, 16); decides between equal keys, the smaller first.
        num_draws: By leaf; at most as many as it has items.

    Returns:
        Whether each item is taken, and for each leaf the largest key that was not (the smallest
        int64 where all were taken).
    """
    words = np.ascontiguousarray(image_id).view(">u8")
    order = np.lexsort((words[:, 1], words[:, 0], -keys, leaf))
    sizes = np.bincount(leaf, minlength=len(num_draws))
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    rank = np.empty(len(leaf), np.int64)
    rank[order] = np.arange(len(leaf)) - np.repeat(starts, sizes)
    threshold = np.full(len(num_draws), np.iinfo(np.int64).min)
    short = num_draws < sizes
    threshold[short] = keys[order[(starts + num_draws)[short]]]
    return rank < num_draws[leaf], threshold


def inclusion_weights(
    score: NDArray[np.int64], threshold: NDArray[np.int64], temperature: float
) -> NDArray[np.float64]:
    """Return the sampling weight of images drawn once: 1 / probability to pass the threshold.

    Args:
        score: int64, (N,), in units of 1 / `SCORE_SCALE`.
        threshold: (N,), the largest key of the image's leaf that was not drawn.
        temperature: In points of the score.

    Source: rank conditioning for bottom-k samples (Cohen and Kaplan, 2007): given the threshold,
    an image is drawn with probability `1 - exp(-exp(score / T - threshold))`.
    """
    excess = score / (SCORE_SCALE * temperature) - threshold / _KEY_SCALE
    probability = -np.expm1(-np.exp(np.minimum(excess, 50.0)))
    return round_weights(1.0 / probability)


def round_weights(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round positive weights to `_WEIGHT_BITS` significant bits."""
    mantissa, exponent = np.frexp(weights)
    rounded: Any = np.ldexp(np.rint(mantissa * 2.0**_WEIGHT_BITS) / 2.0**_WEIGHT_BITS, exponent)
    return np.asarray(rounded, np.float64)


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit numbers one to one.

    Source: the finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
    """
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
