"""How far a head agrees with the clustering that it was trained on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.categorize import kmeans
from stages.categorize.head import Head

TOP = 5
_HEAD_SHARE = 0.1
_TAIL_SHARE = 0.5
_SURE = 0.5
_BINS = 15
_BLOCK_ROWS = 256
_CALIBRATION_ROWS = 4096
_GOLDEN = (5**0.5 - 1) / 2
_LOG_TEMPERATURES = (-3.0, 3.0)
_CALIBRATION_STEPS = 24
_DIGITS = 4


def calibrated_temperature(
    head: Head, vectors: kmeans.Integers, labels: NDArray[np.int32]
) -> float:
    """Return the temperature at which the first rows are most probable, 1/20 to 20.

    Source: Guo et al. 2017, "On calibration of modern neural networks"; the minimum by golden
        section, since the loss has one minimum over 1/temperature.
    """
    vectors, labels = vectors[:_CALIBRATION_ROWS], labels[:_CALIBRATION_ROWS]
    unit = head.layers[-1].unit

    def loss(log_temperature: float) -> float:
        total = 0.0
        for start in range(0, len(vectors), _BLOCK_ROWS):
            block = slice(start, start + _BLOCK_ROWS)
            logits = head.logits(vectors[block]) * (unit / np.exp(log_temperature))
            own = logits[np.arange(len(logits)), labels[block]]
            highest = logits.max(axis=1)
            sums = np.exp(logits - highest[:, np.newaxis]).sum(axis=1)
            total += float((np.log(sums) + highest - own).sum())
        return total

    low, high = _LOG_TEMPERATURES
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = loss(left), loss(right)
    for _ in range(_CALIBRATION_STEPS):
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = loss(right)
    return round(float(np.exp((low + high) / 2)), _DIGITS)


def measure(
    head: Head, vectors: kmeans.Integers, labels: NDArray[np.int32], sizes: Sequence[int]
) -> dict[str, Any]:
    """Compare the head, as it will be applied, with the clustering on rows that neither has seen.

    Args:
        head: The rounded head, at its temperature.
        vectors: (rows, dimension), at least one row.
        labels: The clustering's leaf of each.
        sizes: Training rows of each leaf: the biggest tenth of the leaves are the head of the
            distribution, the smallest half its tail.

    Returns:
        `rows`; `top1` and `top5`; `by_level`, the share of rows whose node is the same at each
        level from the root; `head` and `tail`, top-1 for rows of such leaves, null where there are
        none; `sure_share` of rows with a margin of 1/2 or more and `sure_top1` of those;
        `calibration_error`, expected, in 15 bins; `nearest_center_top1`, what the nearest centre of
        all leaves would give without training; `biggest_leaf`, what one leaf for all would give.
    """
    found = head.assign(vectors)
    assert found.scores is not None
    assert found.margins is not None
    right = found.leaves == labels
    ranks = _ranks(head, vectors, labels)
    order = np.argsort([-size for size in sizes], kind="stable")
    num_head = max(1, round(len(sizes) * _HEAD_SHARE))
    num_tail = max(1, round(len(sizes) * _TAIL_SHARE))
    sure = found.margins >= _SURE
    nearest, _ = kmeans.nearest_centers(vectors, head.centers)
    return {
        "rows": len(vectors),
        "top1": _share(right),
        "top5": _share(ranks < TOP),
        "by_level": _by_level(head, found.leaves, labels),
        "head": _share(right[np.isin(labels, order[:num_head])]),
        "tail": _share(right[np.isin(labels, order[-num_tail:])]),
        "sure_share": _share(sure),
        "sure_top1": _share(right[sure]),
        "calibration_error": _calibration_error(found.scores, right),
        "nearest_center_top1": _share(nearest == labels),
        "biggest_leaf": _share(labels == order[0]),
    }


def _ranks(head: Head, vectors: kmeans.Integers, labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return how many leaves have a larger logit than the row's own, for each row."""
    ranks = np.zeros(len(vectors), np.int64)
    for start in range(0, len(vectors), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        logits = head.logits(vectors[block])
        own = logits[np.arange(len(logits)), labels[block]]
        ranks[block] = (logits > own[:, np.newaxis]).sum(axis=1)
    return ranks


def _by_level(
    head: Head, found: NDArray[np.int32], labels: NDArray[np.int32]
) -> list[float | None]:
    paths = [leaf.path.split("/") for leaf in head.leaves]
    shares = []
    for level in range(1, max(len(path) for path in paths) + 1):
        nodes: dict[str, int] = {}
        numbers = np.array([nodes.setdefault("/".join(path[:level]), len(nodes)) for path in paths])
        shares.append(_share(numbers[found] == numbers[labels]))
    return shares


def _calibration_error(scores: NDArray[np.float32], right: NDArray[np.bool_]) -> float:
    """Source: Naeini et al. 2015: mean gap of score and share of right ones, over equal bins."""
    bins = np.minimum((scores * _BINS).astype(np.int64), _BINS - 1)
    gap = np.bincount(bins, right.astype(np.float64) - scores.astype(np.float64), _BINS)
    return round(float(np.abs(gap).sum() / len(scores)), _DIGITS)


def _share(values: NDArray[np.bool_]) -> float | None:
    return round(float(values.mean()), _DIGITS) if len(values) else None
