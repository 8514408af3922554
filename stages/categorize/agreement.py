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
_CALIBRATION_ROWS = 4096  # with 10,000 leaves 330 MB of logits, twice
_LOG_TEMPERATURES = (-6.0, 3.0)
_CALIBRATION_STEPS = 24
_DIGITS = 4


def calibrated_temperature(
    head: Head, vectors: kmeans.Integers, labels: NDArray[np.int32]
) -> float:
    """Return the temperature at which the mean score is the share of rows that got their leaf.

    So of rows with scores around 0.9, about 0.9 agree, as far as one number can make it so. One row
    more is counted as wrong: a sample without a wrong one is no reason for certainty. The
    temperature with the smallest cross-entropy, as usual elsewhere, makes scores far too small
    here: the clustering is a function of the vector, so few rows are wrong, and those few decide.

    Source: in the spirit of Guo et al. 2017, "On calibration of modern neural networks"; found by
        bisection, since scores fall as the temperature rises.
    """
    vectors, labels = vectors[:_CALIBRATION_ROWS], labels[:_CALIBRATION_ROWS]
    found = [head.logits(vectors[s : s + _BLOCK_ROWS]) for s in range(0, len(vectors), _BLOCK_ROWS)]
    right = sum(
        int((logits.argmax(axis=1) == labels[number * _BLOCK_ROWS :][: len(logits)]).sum())
        for number, logits in enumerate(found)
    )
    wanted = right * len(vectors) / (len(vectors) + 1)
    below = [logits - logits.max(axis=1, keepdims=True) for logits in found]
    unit = head.layers[-1].unit
    low, high = _LOG_TEMPERATURES
    for _ in range(_CALIBRATION_STEPS):
        middle = (low + high) / 2
        sums = [np.exp(logits * (unit / np.exp(middle))).sum(axis=1) for logits in below]
        if float(np.concatenate([1 / total for total in sums]).sum()) > wanted:
            low = middle
        else:
            high = middle
    return round(float(np.exp((low + high) / 2)), 6)


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
