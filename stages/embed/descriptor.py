"""A descriptor of shape, texture and colour without learned weights.

It tells images apart by where their edges are, how coarse and which way they run, whether the
picture is grained like a photograph or flat like a drawing, and which colours lie where. It knows
no objects: two photographs of one dog before different backgrounds are as far apart as any two
photographs.

An image becomes four parts, each of length at most 1, that share the cosine by their weights:

- shape: oriented energies in 4 x 4 cells (GIST);
- texture: how strong edges are, how concentrated they are, how few colours fill the picture;
- layout: the mean colour of 4 x 4 cells;
- histogram: of lightness and of hue.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.embed.bands import CELLS, NUM_BANDS, SIZE_PX, Bank, Responses, respond

_COLOR_PX = 32
_LAB_ZERO = np.array([0, 128, 128], np.float32)  # of 8-bit Lab
_LIGHTNESS_BINS = 8
_HUE_BINS = 8
_EDGE_BINS = 8  # one for each doubling of the gradient
_FLAT_LEVELS = 2.0  # of 255: what is less steep is flat
_COLOR_BITS = 5
_COLOR_RANKS = 2 ** np.arange(8)  # the share of the 1, 2, 4, ..., 128 most frequent colours

DIMENSION = (
    NUM_BANDS * CELLS**2
    + (_EDGE_BINS + NUM_BANDS + len(_COLOR_RANKS))
    + 3 * CELLS**2
    + (_LIGHTNESS_BINS + _HUE_BINS)
)
"""Length of a description."""

# Parts of parts. All of this was tuned on drawn scenes and edited photographs; flat optima.
_EDGE_SHARE, _DENSITY_SHARE, _PALETTE_SHARE = 0.4, 0.3, 0.3  # of the texture's weight
_LAYOUT_SHARE = 0.6  # of the colour's weight; the rest is the histogram's

# A part shorter than this fades instead of being blown up to full weight: the grain of a clear sky
# is no shape, and a grey image has no layout of colours.
_FAINT_SHAPE = 0.3
_FAINT_DENSITY = 0.4
_FAINT_PALETTE = 0.3
_FAINT_LAYOUT = 0.5
_FULL_CHROMA = 0.15  # of the range of a and b, about that of skin: from here on a pixel has a hue
_USUAL_DENSITY = 0.75
_USUAL_SHARE = 0.5


@dataclass(frozen=True)
class Weights:
    """Shares of the parts in the cosine of two images; the rest is shape's."""

    texture: float
    color: float


def describe(pixels: NDArray[np.uint8], bank: Bank, weights: Weights) -> NDArray[np.float64]:
    """Describe one image.

    An image of one colour has a shape of zeros, but always edges (none) and a histogram: the result
    is never zero, and finite.

    Args:
        pixels: (H, W, 3) RGB, any size; squashed to a square.
        bank: What `make_bank` made.
        weights: Shares of the parts.

    Returns:
        (DIMENSION,), not scaled to length 1.

    Source: Oliva & Torralba 2001, "Modeling the shape of the scene: a holistic representation of
    the spatial envelope", for oriented energies averaged on a grid (steerable filters instead of
    Gabor's, no local contrast normalisation, but square roots less their mean: without that, any
    two images have a cosine near 0.9); Kasutani & Yamada 2001 for the colour layout (plain means
    instead of their DCT). The texture part is ours.
    """
    import cv2

    square: NDArray[np.uint8] = np.asarray(
        cv2.resize(pixels, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_AREA), np.uint8
    )
    lab: NDArray[np.uint8] = np.asarray(cv2.cvtColor(square, cv2.COLOR_RGB2Lab), np.uint8)
    lightness = lab[..., 0].astype(np.float32) / np.float32(255)
    small = cv2.resize(lab, (_COLOR_PX, _COLOR_PX), interpolation=cv2.INTER_AREA)
    # L in 0..1, a and b in -1/2..1/2.
    color = (small.astype(np.float64) - _LAB_ZERO) / 255
    responses = respond(lightness, bank)
    shape = 1 - weights.texture - weights.color
    parts = (
        (shape, _shape(responses)),
        (weights.texture * _EDGE_SHARE, _edges(lab[..., 0])),
        (weights.texture * _DENSITY_SHARE, _density(responses)),
        (weights.texture * _PALETTE_SHARE, _palette(square)),
        (weights.color * _LAYOUT_SHARE, _layout(color)),
        (weights.color * (1 - _LAYOUT_SHARE), _histogram(color)),
    )
    return np.concatenate([np.sqrt(max(weight, 0.0)) * part for weight, part in parts])


def _shape(responses: Responses) -> NDArray[np.float64]:
    roots = np.sqrt(responses.energy).ravel()
    return _fade(roots - roots.mean(), _FAINT_SHAPE)


def _edges(lightness: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Histogram of how steep the lightness is, in doublings: pages of text, skies, foliage."""
    levels = lightness.astype(np.float32)
    right = levels[:-1, 1:] - levels[:-1, :-1]
    down = levels[1:, :-1] - levels[:-1, :-1]
    steepness = (right * right + down * down).ravel()  # squared
    doublings = np.log2(np.maximum(steepness, _FLAT_LEVELS**2) / _FLAT_LEVELS**2) / 2
    doublings = np.minimum(doublings, _EDGE_BINS - 1)
    return _roots(_soft_bins(doublings, np.ones_like(doublings), _EDGE_BINS))


def _density(responses: Responses) -> NDArray[np.float64]:
    return _fade(responses.density - _USUAL_DENSITY, _FAINT_DENSITY)


def _palette(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Say how much of the picture its most frequent colours fill: drawings have few, photos many.

    Source: in the spirit of Athitsos, Swain & Frankel 1997, "Distinguishing photographs and
    graphics on the World Wide Web".
    """
    coarse = pixels.astype(np.int32) >> (8 - _COLOR_BITS)
    red, green, blue = coarse.reshape(-1, 3).T
    counts = np.bincount((red << _COLOR_BITS | green) << _COLOR_BITS | blue)
    filled = np.cumsum(np.sort(counts[counts > 0])[::-1])
    ranks = np.minimum(_COLOR_RANKS, len(filled)) - 1
    return _fade(filled[ranks] / filled[-1] - _USUAL_SHARE, _FAINT_PALETTE)


def _layout(color: NDArray[np.float64]) -> NDArray[np.float64]:
    edge = _COLOR_PX // CELLS
    means = color.reshape(CELLS, edge, CELLS, edge, 3).mean(axis=(1, 3))
    # a and b of real images fill about half of their range.
    return _fade(((means - (0.5, 0, 0)) * (1, 2, 2)).ravel(), _FAINT_LAYOUT)


def _histogram(color: NDArray[np.float64]) -> NDArray[np.float64]:
    lightness, a, b = color.reshape(-1, 3).T
    tone = np.clip(lightness * _LIGHTNESS_BINS - 0.5, 0, _LIGHTNESS_BINS - 1)
    tones = _soft_bins(tone, np.ones_like(tone), _LIGHTNESS_BINS)
    chroma = np.minimum(np.hypot(a, b) / _FULL_CHROMA, 1)
    hue = np.arctan2(b, a) / (2 * np.pi) * _HUE_BINS % _HUE_BINS
    return _roots(np.concatenate([tones, _soft_bins(hue, chroma, _HUE_BINS)]))


def _soft_bins(
    position: NDArray[np.floating], weight: NDArray[np.floating], num_bins: int
) -> NDArray[np.float64]:
    """Share each weight between the two bins around its position; after the last is the first."""
    lower = np.floor(position).astype(np.intp)
    upper_share = (position - lower) * weight
    lower_bins = np.bincount(lower % num_bins, weight - upper_share, num_bins)
    upper_bins = np.bincount((lower + 1) % num_bins, upper_share, num_bins)
    return np.asarray(lower_bins + upper_bins, np.float64)


def _roots(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a histogram as a vector of length 1, whose products are Bhattacharyya coefficients."""
    return np.asarray(np.sqrt(np.maximum(counts, 0) / counts.sum()))


def _fade(part: NDArray[np.float64], faint: float) -> NDArray[np.float64]:
    """Scale `part` to length 1, or to less the more its length falls below `faint`."""
    return np.asarray(part / np.sqrt(np.square(part).sum() + faint * faint))
