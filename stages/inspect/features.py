"""Numbers that tell poor pictures from good ones, all from one small view.

Everything is counted in integers and divided at the end, so the same pixels give the same numbers
on every machine.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DARK_LUMA = 4
BRIGHT_LUMA = 251
"""Luma from which a pixel counts as clipped: JPEG moves pure black and white by a few levels."""

FRAME_SHARE = 32
"""The outer frame is 1/32 of the shorter edge wide, and at least a pixel."""

JPEG_QUALITY = 75

_START_OF_SCAN = b"\xff\xda"
_LUMA_LEVELS = 256


@dataclass(frozen=True)
class Features:
    """The measurements of one view; `schemas.inspect` says what each means and its range."""

    mean_luma: float
    dark_share: float
    bright_share: float
    contrast: float
    entropy: float
    sharpness: float
    colorfulness: float
    border_variance: float
    bits_per_pixel: float


def measure(pixels: NDArray[np.uint8], luma: NDArray[np.uint8]) -> Features:
    """Measure a view.

    Args:
        pixels: (height, width, 3) sRGB.
        luma: (height, width), of `to_luma`.

    Source: dark and bright share, mean and contrast (RMS contrast) from the histogram, as in
        Peli, Contrast in complex images, JOSA A 7 (1990), eq. 4, without dividing by the range.
        Entropy: Shannon (1948).
    """
    counts = np.bincount(luma.ravel(), minlength=_LUMA_LEVELS)
    levels = np.arange(_LUMA_LEVELS)
    total = int(luma.size)
    return Features(
        mean_luma=int(counts @ levels) / total,
        dark_share=int(counts[: DARK_LUMA + 1].sum()) / total,
        bright_share=int(counts[BRIGHT_LUMA:].sum()) / total,
        contrast=_histogram_variance(counts) ** 0.5,
        entropy=_entropy(counts),
        sharpness=sharpness(luma),
        colorfulness=colorfulness(pixels),
        border_variance=border_variance(luma),
        bits_per_pixel=bits_per_pixel(pixels),
    )


def to_luma(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Weigh red, green and blue by 0.299, 0.587 and 0.114, rounded to whole levels.

    Source: ITU-R BT.601; OpenCV's fixed-point conversion.
    """
    import cv2

    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)


def sharpness(luma: NDArray[np.uint8]) -> float:
    """Return the variance of the Laplacian, 0 for a flat picture.

    Source: Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy, ICPR 2000; OpenCV's
        4-neighbour Laplacian with mirrored borders.
    """
    import cv2

    return _variance(np.asarray(cv2.Laplacian(luma, cv2.CV_16S)))


def colorfulness(pixels: NDArray[np.uint8]) -> float:
    """Return how far and how widely colours lie from grey.

    Source: Hasler and Suesstrunk, Measuring colourfulness in natural images, SPIE 5007 (2003),
        M3: sigma + 0.3 mu over red-green and yellow-blue.
    """
    import cv2

    red, green, blue = cv2.split(pixels)
    red_green = cv2.subtract(red, green, dtype=cv2.CV_16S)
    sums = cv2.add(red, green, dtype=cv2.CV_16S)
    twice_yellow_blue = cv2.subtract(sums, cv2.add(blue, blue, dtype=cv2.CV_16S))
    mean_rg, deviation_rg = (float(v[0, 0]) for v in cv2.meanStdDev(red_green))
    mean_yb, deviation_yb = (float(v[0, 0]) / 2 for v in cv2.meanStdDev(twice_yellow_blue))
    return float(np.hypot(deviation_rg, deviation_yb) + 0.3 * np.hypot(mean_rg, mean_yb))


def border_variance(luma: NDArray[np.uint8]) -> float:
    """Return the variance of luma in the outer frame.

    Source: the border-pixel variance of the Z-Image report (arXiv 2511.22699), which leaves the
        width of the frame open.
    """
    height, width = luma.shape
    depth = max(1, min(height, width) // FRAME_SHARE)
    bottom, right = max(depth, height - depth), max(depth, width - depth)
    sides = luma[depth:bottom]
    parts = (luma[:depth], luma[bottom:], sides[:, :depth], sides[:, right:])
    frame = np.concatenate([part.ravel() for part in parts])
    return _histogram_variance(np.bincount(frame, minlength=_LUMA_LEVELS))


def bits_per_pixel(pixels: NDArray[np.uint8]) -> float:
    """Return the size of the view's compressed data, without the JPEG's tables.

    Source: the bits per pixel after a transient JPEG re-encoding of the Z-Image report (arXiv
        2511.22699); quality 75 and 4:2:0 are ours.
    """
    import cv2

    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    done, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert done
    data = encoded.tobytes()
    height, width = pixels.shape[:2]
    return 8.0 * (len(data) - data.index(_START_OF_SCAN)) / int(height * width)


def _variance(values: NDArray[np.int16]) -> float:
    """Return the population variance, from exact sums."""
    wide = values.ravel().astype(np.float64)  # sums of whole numbers below 2**53 are exact
    total, squares, count = int(wide.sum()), int(wide @ wide), wide.size
    return (squares * count - total * total) / (count * count)


def _histogram_variance(counts: NDArray[np.intp]) -> float:
    levels = np.arange(len(counts))
    count, total = int(counts.sum()), int(counts @ levels)
    squares = int(counts @ (levels * levels))
    return (squares * count - total * total) / (count * count)


def _entropy(counts: NDArray[np.intp]) -> float:
    share = counts[counts > 0] / counts.sum()
    return max(0.0, float(-(share * np.log2(share)).sum()))
