"""A cascade: a cheap scorer first, a dear one only where it can change the decision.

The decision is a predicate of a snapshot, `score >= T`. An image whose cheap score lies far below
or above is decided by that; the dear scorer is asked inside a band of cheap scores. A dear score is
never made up: outside the band it is null, and `band` says which side. So the predicate reads

    aes_big_band = 'above' OR (aes_big_band = 'inside' AND aes_big_score >= 40)

`calibrate` finds the band from images that have both scores.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from curation.config import Config
from curation.errors import UsageError

Scores = NDArray[np.float64]

BELOW, INSIDE, ABOVE = "below", "inside", "above"

_FIRST_STEP, _LAST_STEP, _NUM_STEPS = 1 / 32, 4.0, 64
"""Expected shares of changed decisions for which bands are proposed, in units of `max_changed`."""

_PULL = 1e-6
_NEWTON_STEPS = 50

_UNITS = 10_000
"""Scores are compared in units of 1e-4: a band decides, and decisions are made in integers."""


class Band(Config):
    """The scores of the scorer before, for which this one is asked; both ends belong to it.

    Attributes:
        least: Below it the answer is no; null where that is never certain.
        most: Above it the answer is yes; null where that is never certain.
    """

    least: float | None = Field(default=None, ge=0, le=100)
    most: float | None = Field(default=None, ge=0, le=100)

    @model_validator(mode="after")
    def _is_a_band(self) -> Self:
        if self.least is None and self.most is None:
            message = "names neither least nor most, so every image would be scored; leave it out"
            raise ValueError(message)
        if self.least is not None and self.most is not None and self.least > self.most:
            message = f"least {self.least:g} is more than most {self.most:g}"
            raise ValueError(message)
        return self

    def place(self, score: float) -> str:
        """Return where a score lies: `below`, `inside` or `above`."""
        units = _units(score)
        if self.least is not None and units < _units(self.least):
            return BELOW
        if self.most is not None and units > _units(self.most):
            return ABOVE
        return INSIDE


def _units(score: float) -> int:
    return round(score * _UNITS)


@dataclass(frozen=True)
class Calibration:
    """A band, and what is known of it from images that had no part in choosing it.

    Attributes:
        band: The band; null where none keeps the promise, so that all must be scored.
        num_held_out: Images that it was tested on.
        num_skipped: How many of them the dear scorer need not see.
        num_changed: How many of them are decided otherwise than by scoring all.
        max_changed: The promise: at most this share of images like these is decided otherwise.
        confidence: Probability that the promise holds, over draws of the images.
    """

    band: Band | None
    num_held_out: int
    num_skipped: int
    num_changed: int
    max_changed: float
    confidence: float

    def lines(self) -> list[str]:
        """Say it to a person."""
        promise = f"at most {self.max_changed:g} of the decisions about images like these"
        if self.band is None:
            nothing = f"No band changes {promise}, with {self.confidence:g} confidence."
            return [nothing, "Score all, give more images with both scores, or allow more."]
        ends = {"least": self.band.least, "most": self.band.most}
        named = ", ".join(f"{name}: {value:g}" for name, value in ends.items() if value is not None)
        share = self.num_skipped / self.num_held_out
        seen = (
            f"Of {self.num_held_out} held-out images, {share:.1%} are decided without the dear "
            f"scorer, {self.num_changed} of them otherwise than by it."
        )
        return [f"after: {{{named}}}", seen, f"It changes {promise} ({self.confidence:g} sure)."]


def calibrate(
    cheap: Scores,
    dear: Scores,
    threshold: float,
    *,
    max_changed: float = 0.005,
    confidence: float = 0.95,
    seed: int = 0,
) -> Calibration:
    """Find the narrowest band that changes next to no decision.

    Half of the images, drawn by `seed`, propose bands, from a wide one inwards. The other half
    tests these in that order and stops at the first that fails, so that the confidence holds for
    all that passed, however many were tried. It holds for images drawn as these were: calibrate on
    a random sample of the corpus, and again when the corpus, a scorer or the threshold changes.

    Args:
        cheap: (n,) scores of the scorer that sees all images.
        dear: (n,) scores of the other one for the same images.
        threshold: `T` of the decision `dear >= T`.
        max_changed: Share of all images whose decision may change.
        confidence: Probability with which that must hold.
        seed: Draws the halves.

    Raises:
        UsageError: The scores do not match, are not finite, or are too few to promise anything.

    Source: Angelopoulos et al. 2021, "Learn then Test: calibrating predictive algorithms to achieve
        risk control", section 3.2 (fixed sequence testing), with the exact binomial test of
        Clopper & Pearson 1934. The proposals are ours.
    """
    _check(cheap, dear, max_changed, confidence)
    in_order = np.lexsort((dear, cheap))  # whatever order they came in
    cheap, dear = cheap[in_order], dear[in_order]
    order = np.random.default_rng(seed).permutation(len(cheap))
    half = len(cheap) // 2
    propose, test = order[:half], order[half:]
    passes = _integers(dear) >= _units(threshold)
    cheap_units = _integers(cheap)
    found: tuple[Band | None, int, int] = (None, 0, 0)
    for band in _proposals(cheap_units[propose], passes[propose], max_changed):
        skipped, changed = _outcome(band, cheap_units[test], passes[test])
        if _chance(changed, len(test), max_changed) > 1 - confidence:
            break
        if found[0] is None or skipped > found[1]:
            found = (band, skipped, changed)
    chosen, skipped, changed = found
    return Calibration(chosen, len(test), skipped, changed, max_changed, confidence)


def _check(cheap: Scores, dear: Scores, max_changed: float, confidence: float) -> None:
    if cheap.shape != dear.shape or cheap.ndim != 1:
        message = (
            f"found scores of shapes {cheap.shape} and {dear.shape}; expected two for each image"
        )
        raise UsageError(message)
    if not (np.isfinite(cheap).all() and np.isfinite(dear).all()):
        message = "a score is NaN or infinite; leave out images that lack one of the two scores"
        raise UsageError(message)
    if not (0 < max_changed < 1 and 0 < confidence < 1):
        message = (
            f"max_changed is {max_changed:g} and confidence {confidence:g}; both lie between 0 and "
            "1, without the ends"
        )
        raise UsageError(message)
    needed = 2 * int(np.ceil(np.log(1 - confidence) / np.log1p(-max_changed)))
    if len(cheap) < needed:
        message = (
            f"{len(cheap)} images have both scores; to promise {max_changed:g} with "
            f"{confidence:g} confidence, {needed} are needed"
        )
        raise UsageError(message)


def _proposals(
    cheap: NDArray[np.int64], passes: NDArray[np.bool_], max_changed: float
) -> Iterator[Band]:
    """Yield bands, each inside the one before, that are likely to change more and more decisions.

    Where the far ends hold few images, counting them proposes what only this sample bears out. So a
    smooth curve stands in for the counts: the fitted chance that an image of this cheap score
    passes. Where it fits badly, less is saved; nothing is promised that does not hold.
    """
    values, which = np.unique(cheap, return_inverse=True)
    counts = np.bincount(which)
    chance = _fitted_chance(values, counts, np.bincount(which, passes).astype(np.float64))
    risk = np.minimum(chance, 1 - chance)
    safest = np.argsort(risk, kind="stable")
    expected = np.cumsum(risk[safest] * counts[safest]) / len(cheap)
    steps = np.geomspace(_FIRST_STEP * max_changed, _LAST_STEP * max_changed, _NUM_STEPS)
    for first in dict.fromkeys(np.searchsorted(expected, steps, side="right").tolist()):
        asked = safest[first:]
        if len(asked):
            yield from _band(values, int(asked.min()), int(asked.max()) + 1)
        else:  # the cheap score decides every image
            middle = int(np.searchsorted(chance, 0.5))
            yield from _band(values, middle, middle)


def _fitted_chance(
    values: NDArray[np.int64], counts: NDArray[np.int64], good: NDArray[np.float64]
) -> Scores:
    """Return the chance to pass for each value, rising with it, by logistic regression.

    Source: Newton's method for two parameters. A slight pull towards 0 keeps them finite where the
        two kinds do not overlap.
    """
    weights = counts / counts.sum()
    mean = weights @ values
    spread = max(float(np.sqrt(weights @ np.square(values - mean))), 1.0)
    design = np.stack([np.ones(len(values)), (values - mean) / spread])
    parameters = np.zeros(2)
    pull = _PULL * np.eye(2)
    for _ in range(_NEWTON_STEPS):
        chance = _logistic(parameters @ design)
        slope = design @ (good / counts.sum() - weights * chance) - pull @ parameters
        bend = (design * (weights * chance * (1 - chance))) @ design.T + pull
        parameters += np.linalg.solve(bend, slope)
    parameters[1] = max(parameters[1], 0.0)
    return np.asarray(_logistic(parameters @ design), np.float64)


def _band(values: NDArray[np.int64], low: int, high: int) -> Iterator[Band]:
    """Yield the band of the scores values[low:high], unless it is that of all scores.

    A band has at least one score. Where there is none left to ask for, it is one that no image has,
    or else the one at the cut.
    """
    if low == 0 and high == len(values):
        return
    least = values[low] if low < len(values) else values[-1] + 1
    most = values[high - 1] if high else values[0] - 1
    if low and high < len(values):
        most = max(least, most)
    yield Band(
        least=min(float(least) / _UNITS, 100.0) if low else None,
        most=max(float(most) / _UNITS, 0.0) if high < len(values) else None,
    )


def _logistic(x: Scores) -> Scores:
    from scipy.special import expit

    return np.asarray(expit(x), np.float64)


def _outcome(band: Band, cheap: NDArray[np.int64], passes: NDArray[np.bool_]) -> tuple[int, int]:
    """Return how many images the band skips, and how many of their decisions it changes."""
    nothing = np.zeros(len(cheap), np.bool_)
    below = nothing if band.least is None else cheap < _units(band.least)
    above = nothing if band.most is None else cheap > _units(band.most)
    changed = (below & passes) | (above & ~passes)
    return int((below | above).sum()), int(changed.sum())


def _integers(scores: Scores) -> NDArray[np.int64]:
    return np.asarray(np.rint(scores * _UNITS), np.int64)


def _chance(changed: int, total: int, share: float) -> float:
    """Return the probability of so few changes, or fewer, if `share` of all images changed."""
    from scipy.special import bdtr

    return float(bdtr(changed, total, share))
