"""The scorers that `aesthetic` can use, by name."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa

from stages.aesthetic.clip_head import ClipHeadScorer
from stages.aesthetic.ernie import ErnieImageAesScorer
from stages.aesthetic.scorer import AestheticConfig, ColumnScorer, Numbers, Scorer

Knots = Sequence[tuple[float, float]]


class HeuristicConfig(AestheticConfig):
    """Measured statistics, without a model."""

    scorer: Literal["heuristic"] = "heuristic"


class HeuristicScorer(ColumnScorer):
    """Measured statistics, weighed by hand; a stand-in for a learned judge, not one.

    It rewards what photographs that people like have in common: size, sharp edges, a full range of
    light without clipping, some colour, enough to look at without noise. It knows nothing of
    subject or composition; a dull sharp snapshot beats a fine dark painting, and flat graphics
    score low. Good enough to choose the best of several copies and to try a pipeline out.

    Each response lies between 0 and 1 and is interpolated between the knots below. The score is 70
    parts their weighted mean and 30 parts the weakest of them: one fault is not outweighed by
    virtues.

    Source: ours. That exposure, contrast, colourfulness, sharpness and size carry part of the
        aesthetic judgement of photographs: Datta et al., Studying aesthetics in photographic images
        using a computational approach, ECCV 2006; Ke et al., The design of high-level features for
        photo quality assessment, CVPR 2006.
    """

    version: ClassVar[str] = "1"
    config_type: ClassVar[type[AestheticConfig]] = HeuristicConfig
    reads: ClassVar[tuple[str, ...]] = (
        "inspect.width",
        "inspect.height",
        "inspect.mean_luma",
        "inspect.dark_share",
        "inspect.bright_share",
        "inspect.contrast",
        "inspect.entropy",
        "inspect.sharpness",
        "inspect.colorfulness",
        "inspect.bits_per_pixel",
    )

    def score(self, table: pa.Table) -> Numbers:
        column = {name.partition(".")[2]: _numbers(table[name]) for name in self.reads}
        clipped = column["dark_share"] + column["bright_share"]
        responses = {
            "size": _response(np.minimum(column["width"], column["height"]), SHORT_EDGE_PX),
            "sharpness": _response(column["sharpness"], SHARPNESS),
            "exposure": _response(column["mean_luma"], MEAN_LUMA) * _response(clipped, CLIPPED),
            "contrast": _response(column["contrast"], CONTRAST),
            "color": _response(column["colorfulness"], COLORFULNESS),
            "complexity": _response(column["entropy"], ENTROPY),
            "detail": _response(column["bits_per_pixel"], BITS_PER_PIXEL),
        }
        mean = np.zeros(len(table))
        weakest = np.ones(len(table))
        for name, response in responses.items():
            mean += WEIGHTS[name] * response
            weakest = np.minimum(weakest, response)
        return np.clip(MEAN_POINTS * mean + WEAKEST_POINTS * weakest, 0.0, 100.0)


MEAN_POINTS = 70.0
WEAKEST_POINTS = 30.0

WEIGHTS = {
    "size": 0.20,
    "sharpness": 0.20,
    "exposure": 0.20,
    "contrast": 0.12,
    "color": 0.10,
    "complexity": 0.08,
    "detail": 0.10,
}
"""Shares of the mean; they add up to 1."""

# Input -> response. Rising: more is better, up to a point where it no longer matters.
SHORT_EDGE_PX: Knots = ((64, 0.0), (256, 0.35), (512, 0.7), (1024, 0.95), (2048, 1.0))
SHARPNESS: Knots = ((2, 0.0), (30, 0.3), (120, 0.6), (400, 0.85), (1200, 1.0))
ENTROPY: Knots = ((0, 0.0), (3, 0.3), (6, 0.85), (7.3, 1.0))
# Falling: clipped pixels have lost what was there.
CLIPPED: Knots = ((0.02, 1.0), (0.30, 0.5), (1.0, 0.0))
# Peaked: too little and too much are both faults. A grey picture may be a good one.
MEAN_LUMA: Knots = ((0, 0.0), (40, 0.5), (90, 1.0), (160, 1.0), (215, 0.5), (255, 0.0))
CONTRAST: Knots = ((0, 0.0), (20, 0.4), (45, 1.0), (80, 1.0), (115, 0.5))
COLORFULNESS: Knots = ((0, 0.45), (15, 0.6), (40, 1.0), (85, 1.0), (130, 0.6), (200, 0.4))
BITS_PER_PIXEL: Knots = ((0, 0.0), (0.3, 0.3), (0.9, 1.0), (2.8, 1.0), (4.5, 0.5), (7, 0.1))


def _response(values: Numbers, knots: Knots) -> Numbers:
    return np.interp(values, [x for x, _ in knots], [y for _, y in knots])


def _numbers(column: pa.ChunkedArray) -> Numbers:
    return np.asarray(column.to_numpy(), np.float64)


SCORERS: dict[str, type[Scorer]] = {
    "clip_head": ClipHeadScorer,
    "ernie_image_aes": ErnieImageAesScorer,
    "heuristic": HeuristicScorer,
}
"""Name in YAML -> class."""
