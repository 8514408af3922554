"""Vectors with a known tree behind them: clusters in clusters, the last ones of Zipf's sizes."""

import numpy as np

from stages.categorize import kmeans
from stages.categorize.build_sample import Sample


def hierarchy(rows, dimension=48, shape=(6, 5), spread=0.6, seed=0):
    """Return shuffled unit vectors in half precision, and the number of each one's subcluster."""
    rng = np.random.default_rng(seed)
    top, below = shape
    tops = _unit(rng.normal(size=(top, dimension)))
    subs = _unit(tops[:, np.newaxis] + 0.8 * _unit(rng.normal(size=(top, below, dimension))))
    shares = rng.permutation(1 / np.arange(1, top * below + 1))
    labels = rng.choice(top * below, rows, p=shares / shares.sum())
    noise = rng.normal(size=(rows, dimension)) * spread / dimension**0.5
    vectors = _unit(subs.reshape(-1, dimension)[labels] + noise)
    return vectors.astype(np.float16), labels


def sample_of(vectors, words=None, seed=0):
    """Return vectors as a sample of which a tenth each is for validation and test."""
    rows = len(vectors)
    parts = np.random.default_rng(seed).integers(0, 10, rows).astype(np.uint8)
    return Sample(
        kmeans.quantize(vectors), words or [set()] * rows, np.zeros((rows, 2), np.int32), parts
    )


def _unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
