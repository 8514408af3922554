"""A quick look at whether there may be text at all: letters, or what passes for them, in a row.

Reading a picture takes about half a second, and most pictures have no text. Letters of one line are
spots of one polarity, of like height, one beside the other. The gate looks for the longest such row
of spots and lets the picture pass when it is long enough; it need not be right, only cheap and
seldom wrong about pictures with text. `python -m benchmarks.ocr` measures both.
"""

import numpy as np
from numpy.typing import NDArray

MAX_SPOTS = 4000
"""Of one polarity; the leftmost are looked at."""

_WINDOW = 500
"""Spots to the left among which a spot looks for its neighbour: more than a column of text has."""

_STEP = 18
"""Levels by which a letter differs from the mean around it."""

_SHARE_OF_EDGE = 16
"""The mean around a pixel is over a square of 1/16 of the shorter edge, and at least 15 px."""

_MIN_HEIGHT_PX = 5

_BANNER_ASPECT = 3
"""Width to height from which a picture may be one line of text from edge to edge."""


def letters_in_a_row(luma: NDArray[np.uint8], enough: int) -> int:
    """Return how many letters the longest row has, not counting beyond `enough`.

    Args:
        luma: (height, width), in the size in which the picture would be read.
        enough: Letters after which nobody needs to know more.

    Source: ours, after the connected-component methods for text in scenes, such as Yin et al.,
        Robust text detection in natural scene images, TPAMI 36 (2014), without their learned parts.
    """
    import cv2

    height, width = luma.shape
    is_banner = width >= _BANNER_ASPECT * height
    edge = max(15, (min(height, width) // _SHARE_OF_EDGE) | 1)
    difference = luma.astype(np.int16) - cv2.blur(luma, (edge, edge))
    longest = 0
    for mask in (difference > _STEP, difference < -_STEP):
        _, _, found, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        spots = _letter_like(np.asarray(found[1:], np.int64), height, is_banner=is_banner)
        longest = max(longest, _longest_row(spots, enough))
        if longest >= enough:
            break
    return longest


def _letter_like(spots: NDArray[np.int64], height: int, *, is_banner: bool) -> NDArray[np.int64]:
    """Keep the spots that could be letters, sorted by their left edge, at most `MAX_SPOTS`.

    Args:
        spots: (spots, 5): left, top, width, height, area.
        height: Of the picture.
        is_banner: Whether letters may be as tall as the picture, nearly.
    """
    wide, high, area = spots[:, 2], spots[:, 3], 100 * spots[:, 4]
    tallest = 19 if is_banner else 7
    in_size = (high >= _MIN_HEIGHT_PX) & (20 * high <= tallest * height)
    round_ones = (wide <= 4 * high) & (8 * wide >= high)
    round_ones &= (area >= 12 * wide * high) & (area <= 95 * wide * high)
    strokes = (3 * wide < high) & (area >= 60 * wide * high)  # i, l, 1
    kept = spots[in_size & (round_ones | strokes)]
    order = np.lexsort((kept[:, 1], kept[:, 0]))
    return kept[order][:MAX_SPOTS]


def _longest_row(spots: NDArray[np.int64], enough: int) -> int:
    """Return the length of the longest row; a row may climb or fall by a fifth."""
    left, top, wide, high = (spots[:, column] for column in range(4))
    right, bottom = left + wide, top + high
    row = np.ones(len(spots), np.int64)
    for spot in range(1, len(spots)):
        before = slice(max(0, spot - _WINDOW), spot)
        higher = np.maximum(high[before], high[spot])
        gap = left[spot] - right[before]
        slope = 20 * (left[spot] - left[before])
        joined = (gap >= -1) & (gap <= higher)
        joined &= 10 * np.abs(high[before] - high[spot]) <= 4 * higher
        joined &= 100 * np.abs(bottom[before] - bottom[spot]) <= 25 * higher + slope
        if joined.any():
            row[spot] += row[before][joined].max()
            if row[spot] >= enough:
                return enough
    return int(row.max()) if len(row) else 0
