"""The names of a picture's main colours, found in integers."""

import functools

import numpy as np
from numpy.typing import NDArray

COLORS = (
    "black",
    "white",
    "gray",
    "red",
    "orange",
    "brown",
    "yellow",
    "green",
    "cyan",
    "blue",
    "purple",
    "pink",
)
"""The basic colour terms of English, and cyan, for which many pictures have much use.

Source: Berlin and Kay, Basic Color Terms (1969).
"""

MAX_COLORS = 3
_LEAST_PERCENT = 15
"""A colour is a main one from this share of the pixels on."""

_BROWN = (8, 45)
"""Degrees between which a dark colour is brown."""

_BITS = 5
_LEVELS = 1 << _BITS
_DEGREES = 360

_HUES = (
    (16, "red"),
    (45, "orange"),
    (68, "yellow"),
    (165, "green"),
    (195, "cyan"),
    (255, "blue"),
    (292, "purple"),
    (342, "pink"),
    (_DEGREES + 1, "red"),
)
"""Degrees below which a saturated colour has the name."""


def main_colors(pixels: NDArray[np.uint8]) -> list[str]:
    """Return the names of one to three main colours, the largest first.

    Args:
        pixels: (height, width, 3) sRGB.
    """
    small = (pixels >> (8 - _BITS)).astype(np.int32)
    bins = (small[..., 0] << 2 * _BITS) | (small[..., 1] << _BITS) | small[..., 2]
    counts = np.bincount(_table()[bins.ravel()], minlength=len(COLORS))
    order = sorted(range(len(COLORS)), key=lambda color: (-int(counts[color]), color))
    least = _LEAST_PERCENT * int(counts.sum())
    main = [color for color in order if 100 * int(counts[color]) >= least]
    return [COLORS[color] for color in (main or order[:1])[:MAX_COLORS]]


def color_name(red: int, green: int, blue: int) -> str:
    """Return the name of one sRGB colour.

    Source: ours; hue, chroma and value as in Smith, Color gamut transform pairs (1978), with
        borders set by eye.
    """
    high, low = max(red, green, blue), min(red, green, blue)
    chroma = high - low
    if high < 48:
        return "black"
    if chroma < 28 or 100 * chroma < 16 * high:
        return "white" if low >= 205 else "black" if high < 60 else "gray"
    hue = _hue(red, green, blue, high, chroma)
    name = next(name for limit, name in _HUES if hue < limit)
    if _BROWN[0] <= hue < _BROWN[1] and high < 170:
        return "brown"
    if name == "red" and low >= 120 and high >= 200:
        return "pink"
    return name


def _hue(red: int, green: int, blue: int, high: int, chroma: int) -> int:
    """Return the hue in whole degrees, 0 to 359."""
    if high == red:
        sixth = 60 * (green - blue)
    elif high == green:
        sixth = 60 * (blue - red) + 120 * chroma
    else:
        sixth = 60 * (red - green) + 240 * chroma
    return (sixth // chroma) % _DEGREES


@functools.cache
def _table() -> NDArray[np.int64]:
    """Return the number of the name of each of 32 x 32 x 32 colours."""
    middle = [(level << (8 - _BITS)) + (1 << (7 - _BITS)) for level in range(_LEVELS)]
    names = [color_name(r, g, b) for r in middle for g in middle for b in middle]
    return np.array([COLORS.index(name) for name in names], np.int64)
