"""Spherical k-means in exact integers: the same centres on every machine, to the last bit.

Vectors and centres are unit vectors rounded to integers in units of 1/16384. Every product and
every sum of products is then an integer, and by Cauchy-Schwarz no partial sum of an inner product
exceeds about 2^28, far below the 2^53 up to which float64 holds every integer. So a float64 matrix
product makes no rounding error at all, and its result cannot depend on the order in which BLAS
adds: not on threads, block sizes, instruction sets, or how the rows are cut into batches. The
rounding moves a cosine by about 0.00003; that is the price, and it is paid once.

k-means in floats, as in faiss and scikit-learn, adds in whatever order its BLAS chooses:
scikit-learn's centres, for one, differ between one thread and two.
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.errors import ContractError

UNIT = 1 << 14
"""The integer that stands for 1."""

_BLOCK_ROWS = 4096  # rows widened to float64 at once
_SEEDING_ROWS = 16_384  # k-means++ looks at this many rows, or at more for many clusters
_SEEDING_ROWS_PER_CLUSTER = 32

_LENGTH_TOLERANCE = 0.01  # half precision stays within 0.0005

Integers = NDArray[np.int16]


@dataclass(frozen=True)
class Clustering:
    """The result of a fit.

    Attributes:
        centers: (clusters, dimension) unit vectors in units of 1/16384; the biggest cluster first,
            among equal ones the lexicographically smallest centre.
        sizes: Rows of the sample in each cluster; none is 0.
        iterations: Times that the centres were moved.
        converged: Whether the last move changed no row's cluster.
    """

    centers: Integers
    sizes: tuple[int, ...]
    iterations: int
    converged: bool


def quantize(vectors: NDArray[np.float16]) -> Integers:
    """Round unit vectors, (rows, dimension), to integers in units of 1/16384.

    Multiplying by a power of two is exact, so only this rounding happens.

    Raises:
        ContractError: A vector is not of length 1.
    """
    rounded = np.empty(vectors.shape, np.int16)
    for start in range(0, len(vectors), _BLOCK_ROWS):
        block = vectors[start : start + _BLOCK_ROWS].astype(np.float32)
        lengths = np.sqrt(np.einsum("rd,rd->r", block, block))
        worst = float(lengths[np.abs(lengths - 1).argmax()])
        if not abs(worst - 1) <= _LENGTH_TOLERANCE:
            message = (
                f"a vector to be clustered has length {worst:.3f}, expected 1; the stage that "
                "writes it must scale its vectors"
            )
            raise ContractError(message)
        rounded[start : start + _BLOCK_ROWS] = np.rint(block * np.float32(UNIT))
    return rounded


def nearest_centers(
    vectors: Integers, centers: Integers
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Find for each row the centre with the largest inner product, the first among equals.

    Returns:
        Index of the centre, and the inner product in units of 1/16384^2, for each row.
    """
    labels = np.empty(len(vectors), np.int32)
    products = np.empty(len(vectors), np.int64)
    wide = centers.T.astype(np.float64)
    for start in range(0, len(vectors), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        scores = vectors[block].astype(np.float64) @ wide
        labels[block] = scores.argmax(axis=1)
        products[block] = scores.max(axis=1)
    return labels, products


def cosine_distances(
    vectors: Integers, centers: Integers, labels: NDArray[np.int32], products: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return 1 - cosine of each row and its centre, from what `nearest_centers` found.

    The lengths of the rounded vectors are divided out, so equal vectors have distance 0.
    """
    lengths = np.sqrt(_squares(vectors) * _squares(centers)[labels])
    distances: NDArray[np.float64] = np.clip(1 - products / lengths, 0, 2)
    return distances.astype(np.float32)


def fit(vectors: Integers, num_clusters: int, iterations: int, seed: int) -> Clustering:
    """Cluster `vectors`: k-means++ on the first rows, then Lloyd's algorithm on all.

    There are fewer clusters than asked for where the sample has fewer different rows, or where a
    cluster loses its last row on the way.

    Args:
        vectors: (rows, dimension), at least one row, in random order.
        num_clusters: Clusters wanted, at least 1.
        iterations: Limit to how often the centres are moved.
        seed: Draws the first centres.

    Source: Dhillon & Modha 2001 (spherical k-means), Arthur & Vassilvitskii 2007 (k-means++). We
    draw the first centres from the first rows only: 16,384, or 32 a cluster if that is more.
    """
    seeding_rows = max(_SEEDING_ROWS, num_clusters * _SEEDING_ROWS_PER_CLUSTER)
    centers = _first_centers(vectors[:seeding_rows], num_clusters, seed)
    labels, sums = _assign(vectors, centers)
    moves, converged = 0, False
    while moves < iterations and not converged:
        centers = _move(centers, sums)
        last = labels
        labels, sums = _assign(vectors, centers)
        moves += 1
        converged = bool((labels == last).all())
    sizes = np.bincount(labels, minlength=len(centers))
    order = sorted(
        np.flatnonzero(sizes).tolist(), key=lambda c: (-int(sizes[c]), centers[c].tolist())
    )
    return Clustering(centers[order], tuple(int(sizes[c]) for c in order), moves, converged)


def _first_centers(vectors: Integers, num_clusters: int, seed: int) -> Integers:
    """Draw rows, each in proportion to its squared distance from the nearest one drawn before."""
    chosen: list[int] = []
    wide = vectors.astype(np.float64)
    weights = np.ones(len(vectors), np.int64)
    while len(chosen) < num_clusters:
        upper = np.cumsum(weights)
        total = int(upper[-1])
        if total == 0:  # every row equals one that was chosen
            break
        draw = hashlib.sha256(f"longtail-kmeans-1:{seed}:{len(chosen)}".encode()).digest()
        chosen.append(int(np.searchsorted(upper, int.from_bytes(draw, "big") % total, "right")))
        # On the sphere |x - c|^2 = 2 (1 - cos). Rounding leaves rows a little off length 1, so
        # that of a row to itself is set.
        distances = np.maximum(UNIT * UNIT - wide @ wide[chosen[-1]], 0).astype(np.int64)
        distances[(vectors == vectors[chosen[-1]]).all(axis=1)] = 0
        weights = distances if len(chosen) == 1 else np.minimum(weights, distances)
    return vectors[chosen]


def _assign(vectors: Integers, centers: Integers) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return the nearest centre of each row, and the sum of each centre's rows: integers, too."""
    from scipy.sparse import csc_array

    labels = np.empty(len(vectors), np.int32)
    sums = np.zeros(centers.shape)
    for start in range(0, len(vectors), _BLOCK_ROWS):
        block = vectors[start : start + _BLOCK_ROWS]
        nearest, _ = nearest_centers(block, centers)
        labels[start : start + _BLOCK_ROWS] = nearest
        member = (np.ones(len(block)), nearest, np.arange(len(block) + 1))
        sums += csc_array(member, shape=(len(centers), len(block))) @ block.astype(np.float64)
    return labels, sums


def _move(centers: Integers, sums: NDArray[np.float64]) -> Integers:
    """Return the rounded direction of each sum; a centre without rows stays where it is."""
    moved = centers.copy()
    for center, total in zip(moved, sums, strict=True):
        # Squares of sums can pass 2^53; fsum rounds once, whatever the order.
        length = math.sqrt(math.fsum(np.square(total).tolist()))
        if length > 0:
            center[:] = np.rint(total / length * UNIT)
    return moved


def _squares(vectors: Integers) -> NDArray[np.float64]:
    wide = vectors.astype(np.float64)
    return np.asarray(np.einsum("rd,rd->r", wide, wide))
