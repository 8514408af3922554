"""The search for the most probable leaf of a tree."""

import numpy as np
import pytest

from stages.categorize import fixed_point, kmeans
from stages.categorize.beam import Branches, search
from tests.stages.categorize.test_kmeans import unit_vectors


def random_tree(branching, dimension=24, seed=0):
    """Return a tree of random vectors; some nodes of the second level have no children."""
    generator = np.random.default_rng(seed)
    parents = [-1] * branching[0]
    level = list(range(branching[0]))
    for width in branching[1:]:
        below = []
        for node in level:
            if generator.random() < 0.8:
                below += [node] * width
        level = list(range(len(parents), len(parents) + len(below)))
        parents += below
    vectors = generator.normal(size=(len(parents), dimension))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Branches.make(np.rint(vectors * kmeans.UNIT).astype(np.int16), parents), parents


def exhaustive(rows, tree, parents, scale):
    """Return log-probabilities in floats, (rows, nodes), and which nodes are leaves."""
    cosines = rows.astype(float) @ tree.vectors.T.astype(float) / kmeans.UNIT**2
    found = np.zeros(cosines.shape)
    for node in range(-1, len(parents)):
        below = tree.children(node)
        if below.stop > max(below.start, 0) and tree.first[node + 1] >= 0:
            logits = scale * cosines[:, below]
            logits -= logits.max(axis=1, keepdims=True)
            shares = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
            found[:, below] = shares + (found[:, [node]] if node >= 0 else 0)
    return found, tree.first[1:] < 0


def test_a_wide_beam_is_an_exhaustive_search():
    """With a place for every leaf, best and second-best are those of all leaves."""
    tree, parents = random_tree((5, 4, 3))
    rows = kmeans.quantize(unit_vectors(60, 24))
    factor = fixed_point.scale_factor(9.0)

    best = search(rows, tree, factor, len(parents))

    logs, is_leaf = exhaustive(rows, tree, parents, 9.0)
    shares = np.where(is_leaf, np.exp(logs), 0)
    assert shares.sum(axis=1) == pytest.approx(1)
    ranked = np.sort(shares, axis=1)
    assert best.probability / fixed_point.ONE == pytest.approx(ranked[:, -1], rel=2e-3)
    assert best.second / fixed_point.ONE == pytest.approx(ranked[:, -2], rel=2e-3)
    picked = shares[np.arange(60), best.leaf]
    assert picked == pytest.approx(ranked[:, -1], rel=1e-3)
    assert is_leaf[best.leaf].all()


def test_a_leaf_has_one_probability_however_it_is_found():
    """A narrow beam may find another leaf, never a better one, and scores it as a wide one does."""
    tree, parents = random_tree((6, 5, 4), seed=3)
    rows = kmeans.quantize(unit_vectors(300, 24, seed=5))
    factor = fixed_point.scale_factor(6.0)

    found = [search(rows, tree, factor, width) for width in (2, 4, 8, len(parents))]

    widest = found[-1]
    misses = [int((narrow.leaf != widest.leaf).sum()) for narrow in found]
    assert misses[0] > misses[1] > misses[2] >= misses[3] == 0
    for narrow in found:
        same = narrow.leaf == widest.leaf
        assert (narrow.probability[same] == widest.probability[same]).all()
        assert (narrow.probability <= widest.probability).all()
        assert (narrow.second <= narrow.probability).all()


def test_equal_leaves_go_by_their_place():
    """Of leaves with one vector the first in the file is taken, with a margin of 0."""
    twin = unit_vectors(1, 8)
    other = -twin
    vectors = kmeans.quantize(np.concatenate([other, twin, twin]))
    tree = Branches.make(vectors, [-1, -1, -1])

    best = search(kmeans.quantize(twin), tree, fixed_point.scale_factor(100), 2)

    assert best.leaf.tolist() == [1]
    assert best.probability.tolist() == best.second.tolist()
    assert best.probability[0] / fixed_point.ONE == pytest.approx(0.5, rel=1e-3)


def test_rows_decide_alone():
    """Order, slices and company of rows change nothing; no rows are fine."""
    tree, _ = random_tree((5, 4, 3))
    rows = kmeans.quantize(unit_vectors(200, 24))
    factor = fixed_point.scale_factor(20.0)
    order = np.random.default_rng(1).permutation(200)

    whole = search(rows, tree, factor, 4)
    mixed = search(rows[order], tree, factor, 4)
    alone = [search(rows[n : n + 1], tree, factor, 4) for n in range(200)]

    for name in ("leaf", "probability", "second", "product"):
        values = getattr(whole, name)
        assert (getattr(mixed, name) == values[order]).all()
        assert np.concatenate([getattr(one, name) for one in alone]).tolist() == values.tolist()
    assert len(search(rows[:0], tree, factor, 4).leaf) == 0


def test_leaves_of_several_depths_compete():
    """A leaf of the first level keeps its place in the beam while others are followed."""
    a, b = np.eye(4, dtype=np.float16)[:2]
    near_b = ((b + 0.2 * a) / np.linalg.norm(b + 0.2 * a)).astype(np.float16)
    vectors = kmeans.quantize(np.stack([a, b, b, near_b]))
    tree = Branches.make(vectors, [-1, -1, 1, 1])

    best = search(kmeans.quantize(np.stack([a, b])), tree, fixed_point.scale_factor(50), 2)

    assert best.leaf.tolist() == [0, 2]
    assert best.second[0] == 0  # exp(-50) of the other branch is no unit
