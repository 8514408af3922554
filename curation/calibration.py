"""From scores to probabilities that mean what they say, with a few labelled examples."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Cut:
    """A threshold and what it does to the labelled examples.

    Attributes:
        threshold: The smallest score that is kept.
        kept_share: Share of the examples that are kept.
        precision: Share of those that are right.
    """

    threshold: float
    kept_share: float
    precision: float


def cut_for(scores: Numbers, correct: NDArray[np.bool_], precision: float) -> Cut | None:
    """Return the lowest threshold that keeps examples of which a share of `precision` is right.

    Args:
        scores: (n,) at least one.
        correct: (n,) whether what the score belongs to is right.
        precision: The share wanted.

    Returns:
        Null where no threshold reaches it.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    share = np.cumsum(correct[order]) / np.arange(1, len(ranked) + 1)
    is_last = np.append(ranked[1:] != ranked[:-1], True)  # equal scores are kept together
    good = np.flatnonzero(is_last & (share >= precision))
    if not len(good):
        return None
    last = int(good[-1])
    return Cut(float(ranked[last]), (last + 1) / len(ranked), float(share[last]))


@dataclass(frozen=True)
class Platt:
    """A sigmoid that turns scores into probabilities: 1 / (1 + exp(-(slope score + bias))).

    Attributes:
        slope: Above 0, unless high scores mean no.
        bias: The sigmoid's offset.
    """

    slope: float = 1.0
    bias: float = 0.0

    def __call__(self, scores: Numbers) -> Numbers:
        """Return (n,) probabilities."""
        return sigmoid(self.slope * scores + self.bias)


def fit_platt(scores: Numbers, labels: NDArray[np.bool_]) -> Platt:
    """Find the sigmoid under which the labels are most likely.

    Args:
        scores: (n,) real numbers, such as logits.
        labels: (n,) yes or no; both occur.

    Source: Platt 1999, with his targets: (n+ + 1) / (n+ + 2) for yes and 1 / (n- + 2) for no,
        which keep a few examples from being believed too much; minimised by BFGS.
    """
    from scipy.optimize import minimize

    positives = int(labels.sum())
    negatives = len(labels) - positives
    targets = np.where(labels, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    # Centred and of spread 1, whatever the scores' own scale.
    center, spread = float(scores.mean()), max(float(scores.std()), 1e-12)
    inputs = (scores - center) / spread

    def loss(parameters: Numbers) -> tuple[float, Numbers]:
        value = parameters[0] * inputs + parameters[1]
        # -t log p - (1 - t) log(1 - p) of p = sigmoid(value), without overflow
        losses = np.logaddexp(0, value) - targets * value
        slope = sigmoid(value) - targets
        return float(losses.sum()), np.array([slope @ inputs, slope.sum()])

    start = np.array([0.0, np.log((positives + 1) / (negatives + 1))])
    found: Any = minimize(loss, start, jac=True, method="BFGS")
    slope = float(found.x[0]) / spread
    return Platt(slope, float(found.x[1]) - slope * center)


def sigmoid(values: Numbers) -> Numbers:
    """Return 1 / (1 + exp(-value)), without overflow."""
    small = np.exp(-np.abs(values))
    found: Numbers = np.where(values >= 0, 1, small) / (1 + small)
    return found


def log_loss(probabilities: Numbers, labels: NDArray[np.bool_]) -> float:
    """Return the mean of -log of what the right answers were given."""
    right = np.where(labels, probabilities, 1 - probabilities)
    return float(-np.log(np.maximum(right, 1e-12)).mean())


def ranking(scores: Numbers, labels: NDArray[np.bool_]) -> float:
    """Return the share of pairs of a yes and a no that the scores put in order; ties count half.

    That is the area under the ROC curve: 0.5 for chance.
    """
    yes, no = scores[labels], np.sort(scores[~labels])
    below = np.searchsorted(no, yes, side="left")
    upto = np.searchsorted(no, yes, side="right")
    return float((below + upto).sum() / (2 * len(yes) * len(no)))
