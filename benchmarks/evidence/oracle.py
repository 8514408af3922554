"""Says what is on a picture of `benchmarks.evidence.shapes`, by trying everything that could be.

Shape suffixes: N pictures, Y X rows and columns of pixels, K outlines, P pixels of a picture.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.evidence.shapes import COLORS, OUTLINES, Prompt, coverages_KYX

_AT_ONCE = 256


@dataclass(frozen=True)
class Reading:
    """What is on some pictures.

    Attributes:
        prompts: N pairs of colour and form.
        explained_N: Share of a picture's variance that the outline in one colour on one ground
            explains: 1 for a rendered picture but for rounding, little where nothing was drawn.
    """

    prompts: tuple[Prompt, ...]
    explained_N: NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """Shares of pictures that show what was asked for.

    Attributes:
        form: The right form.
        color: The right colour.
        both: Both.
        explained: Mean of `Reading.explained_N`.
        num_pictures: Of how many.
    """

    form: float
    color: float
    both: float
    explained: float
    num_pictures: int


def read(pixels_NYX3: NDArray[np.uint8]) -> Reading:
    """Return the most likely outline and colour of each picture.

    For each outline the best ground and paint are found by least squares; the outline that leaves
    least is the most likely one under noise of one size in every pixel. The colour is that of the
    palette which is nearest to the paint.
    """
    prompts: list[Prompt] = []
    shares: list[NDArray[np.float64]] = []
    palette = np.array(list(COLORS.values()), np.float64)
    names = tuple(COLORS)
    units, means, norms = _templates()
    for start in range(0, len(pixels_NYX3), _AT_ONCE):
        part = pixels_NYX3[start : start + _AT_ONCE].astype(np.float64)
        values_NP3 = part.reshape(len(part), -1, 3)
        ground_N3 = values_NP3.mean(1)
        centered_NP3 = values_NP3 - ground_N3[:, None]
        found_NK3 = np.einsum("kp,npc->nkc", units, centered_NP3, optimize=True)
        energy_NK = (found_NK3**2).sum(2)
        best_N = energy_NK.argmax(1)
        rows = np.arange(len(part))
        whole_N = (centered_NP3**2).sum((1, 2))
        shares.append(energy_NK[rows, best_N] / np.maximum(whole_N, 1e-9))
        # picture = mean + slope (coverage - mean coverage); the paint is where coverage is 1
        slope_N3 = found_NK3[rows, best_N] / norms[best_N, None]
        paint_N3 = ground_N3 + slope_N3 * (1 - means[best_N, None])
        nearest_N = ((paint_N3[:, None] - palette) ** 2).sum(2).argmin(1)
        prompts += [
            Prompt(names[color], OUTLINES[outline].form)
            for color, outline in zip(nearest_N, best_N, strict=True)
        ]
    return Reading(tuple(prompts), np.concatenate(shares))


def score(reading: Reading, wanted: Sequence[Prompt]) -> Score:
    """Return how many pictures show what was wanted."""
    pairs = list(zip(reading.prompts, wanted, strict=True))
    form = np.array([found.form == prompt.form for found, prompt in pairs])
    color = np.array([found.color == prompt.color for found, prompt in pairs])
    return Score(
        float(form.mean()),
        float(color.mean()),
        float((form & color).mean()),
        float(reading.explained_N.mean()),
        len(pairs),
    )


def score_by(
    reading: Reading, wanted: Sequence[Prompt], kind: Callable[[Prompt], str]
) -> dict[str, Score]:
    """Return the score of each kind of prompt."""
    kinds = [kind(prompt) for prompt in wanted]
    found = {}
    for name in dict.fromkeys(kinds):
        mine = [number for number, other in enumerate(kinds) if other == name]
        part = Reading(tuple(reading.prompts[n] for n in mine), reading.explained_N[mine])
        found[name] = score(part, [wanted[n] for n in mine])
    return found


@functools.cache
def _templates() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return outlines without their mean and of norm 1 (K, P), their means and norms (K,)."""
    flat = coverages_KYX().reshape(len(OUTLINES), -1).astype(np.float64)
    means = flat.mean(1)
    centered = flat - means[:, None]
    norms = np.sqrt((centered**2).sum(1))
    return centered / norms[:, None], means, norms
