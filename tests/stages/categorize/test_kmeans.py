"""Spherical k-means in integers: exact, reproducible, and right on what has an answer."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from curation.errors import ContractError
from stages.categorize import kmeans

ROOT = Path(__file__).parents[3]

FIT_AND_PRINT = """
import hashlib
from tests.stages.categorize.test_kmeans import digest_of_fit
print(digest_of_fit())
"""


def unit_vectors(rows, dimension, seed=0):
    """Return random directions in half precision."""
    vectors = np.random.default_rng(seed).normal(size=(rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def blobs(sizes, dimension=32, spread=0.05, seed=0):
    """Return shuffled vectors around random directions, and the number of each one's direction."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    centers = unit_vectors(len(sizes), dimension, seed=seed + 1).astype(np.float64)
    vectors = centers[labels] + rng.normal(size=(len(labels), dimension)) * spread
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16), labels


def digest_of_fit():
    """Fit enough rows for several blocks and BLAS threads; return a digest of the result."""
    found = kmeans.fit(kmeans.quantize(unit_vectors(9000, 96)), 20, 4, seed=3)
    return hashlib.sha256(found.centers.tobytes() + repr(found).encode()).hexdigest()


def test_products_are_exact_integers():
    """Float64 gives the products that Python's own integers give, at the largest lengths too."""
    vectors = unit_vectors(40, 2048)
    vectors[0] = 0
    vectors[0, 7] = 1
    vectors[1] = -vectors[0]
    rows = kmeans.quantize(vectors)

    labels, products = kmeans.nearest_centers(rows, rows[:9])

    exact = [
        [sum(a * b for a, b in zip(x, c, strict=True)) for c in rows[:9].tolist()]
        for x in rows.tolist()
    ]
    assert products.tolist() == [max(row) for row in exact]
    assert labels.tolist() == [row.index(max(row)) for row in exact]


def test_equal_products_go_to_the_first_center():
    """A row between two centres, or at a centre that stands twice, takes the lower number."""
    unit = kmeans.UNIT
    centers = np.array([[unit, 0], [0, unit], [0, unit]], np.int16)
    rows = np.array([[11585, 11585], [0, unit]], np.int16)

    labels, products = kmeans.nearest_centers(rows, centers)

    assert labels.tolist() == [0, 1]
    assert products.tolist() == [11585 * unit, unit * unit]


def test_labels_do_not_depend_on_how_rows_are_cut():
    """Rows alone, in odd slices and in another order get the label and product they had."""
    rows = kmeans.quantize(unit_vectors(5000, 48))
    centers = rows[:17]
    order = np.random.default_rng(5).permutation(len(rows))

    labels, products = kmeans.nearest_centers(rows, centers)
    mixed_labels, mixed_products = kmeans.nearest_centers(rows[order], centers)
    slices = [kmeans.nearest_centers(rows[s : s + 613], centers) for s in range(0, 5000, 613)]
    alone = [kmeans.nearest_centers(rows[n : n + 1], centers)[0][0] for n in range(50)]

    assert (mixed_labels == labels[order]).all()
    assert (mixed_products == products[order]).all()
    assert (np.concatenate([s[0] for s in slices]) == labels).all()
    assert (np.concatenate([s[1] for s in slices]) == products).all()
    assert alone == labels[:50].tolist()


@pytest.mark.parametrize(("threads", "kernels"), [("1", ""), ("2", ""), ("2", "Prescott")])
def test_a_fit_does_not_depend_on_blas(threads, kernels):
    """Another process with other BLAS threads, or the kernels of another CPU, finds the same bits.

    OpenBLAS has kernels that add in another order for every CPU, and takes the named ones; where
    it does not know the name (not x86), that case is the one before it.
    """
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, threads), "PYTHONPATH": str(ROOT)}
    if kernels:
        environment["OPENBLAS_CORETYPE"] = kernels

    done = subprocess.run(
        [sys.executable, "-c", FIT_AND_PRINT],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.split() == [digest_of_fit()]


def test_separate_blobs_are_found_again():
    """Every cluster is one blob, and the clusters come in order of size."""
    sizes = (300, 200, 120, 60, 20, 7)
    vectors, truth = blobs(sizes)
    rows = kmeans.quantize(vectors)

    found = kmeans.fit(rows, 6, 50, seed=0)

    assert found.converged
    assert found.sizes == sizes
    labels, _ = kmeans.nearest_centers(rows, found.centers)
    assert (labels == truth).all()


def test_equally_big_clusters_are_ordered_by_center():
    """Among clusters of one size the smaller centre, number by number, comes first."""
    rows = kmeans.quantize(np.repeat(np.eye(4, dtype=np.float16), 3, axis=0))

    found = kmeans.fit(rows, 4, 10, seed=1)

    assert found.sizes == (3, 3, 3, 3)
    assert found.centers.tolist() == sorted(found.centers.tolist())


def test_more_rounds_do_not_lower_the_objective():
    """Each move of the centres brings the rows nearer to them, up to rounding."""
    rows = kmeans.quantize(unit_vectors(800, 16))

    sums = [
        kmeans.nearest_centers(rows, kmeans.fit(rows, 12, n, seed=2).centers)[1].sum()
        for n in (1, 2, 5, 50)
    ]

    assert sums == sorted(sums)
    assert sums[-1] > 1.02 * sums[0]


def test_the_seed_matters_and_nothing_else():
    """The same seed twice gives the same clusters, another seed others."""
    rows = kmeans.quantize(unit_vectors(400, 16))

    first, again, other = (kmeans.fit(rows, 8, 5, seed=seed) for seed in (0, 0, 1))

    assert first.centers.tobytes() == again.centers.tobytes()
    assert first.sizes == again.sizes
    assert first.centers.tobytes() != other.centers.tobytes()


@pytest.mark.parametrize(("rows", "wanted", "got"), [(1, 64, 1), (5, 64, 5), (64, 64, 64)])
def test_small_samples_give_fewer_clusters(rows, wanted, got):
    """There are never more clusters than rows, and none is empty."""
    found = kmeans.fit(kmeans.quantize(unit_vectors(rows, 24)), wanted, 10, seed=0)

    assert len(found.centers) == got
    assert sum(found.sizes) == rows
    assert min(found.sizes) > 0


def test_equal_rows_are_one_cluster():
    """Copies of two vectors make two clusters, however many are asked for."""
    two = kmeans.quantize(unit_vectors(2, 24))

    found = kmeans.fit(np.repeat(two, [7, 3], axis=0), 5, 10, seed=0)

    assert found.sizes == (7, 3)
    # A centre is scaled to length 1 anew, which the rounded rows were not quite.
    assert np.abs(found.centers.astype(int) - two).max() < 16


def test_distances_are_those_of_cosines():
    """0 for a row at its centre, 1 at a right angle, 2 opposite; float64 agrees elsewhere."""
    vectors = unit_vectors(60, 100)
    rows = kmeans.quantize(vectors)
    labels = np.zeros(60, np.int32)
    products = rows.astype(np.int64) @ rows[0].astype(np.int64)

    distances = kmeans.cosine_distances(rows, rows[:1], labels, products)

    exact = vectors.astype(np.float64)
    lengths = np.linalg.norm(exact, axis=1)
    assert distances.dtype == np.float32
    assert distances[0] == 0
    assert np.abs(distances - (1 - exact @ exact[0] / lengths / lengths[0])).max() < 1e-4
    axes = kmeans.quantize(np.array([[0, 1], [-1, 0]], np.float16))
    center = kmeans.quantize(np.array([[1, 0]], np.float16))
    label, product = kmeans.nearest_centers(axes, center)
    assert kmeans.cosine_distances(axes, center, label, product).tolist() == [1, 2]


@pytest.mark.parametrize("length", [0.0, 0.9, 1.1, 30.0])
def test_other_lengths_are_refused(length):
    """What is no unit vector breaks the contract of the stage that wrote it."""
    vectors = (unit_vectors(3, 8).astype(np.float32) * length).astype(np.float16)

    with pytest.raises(ContractError, match="has length"):
        kmeans.quantize(vectors)
