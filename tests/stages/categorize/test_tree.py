"""A tree of clusters: levels, sizes, and rows that find their way alone."""

import numpy as np
import pytest

from stages.categorize import kmeans
from stages.categorize.tree import descend, grow, leaf_paths
from tests.stages.categorize.test_kmeans import unit_vectors


def nested_blobs(seed=0, dimension=48):
    """Return vectors in 3 groups of 2 and 4 subgroups each, and (group, subgroup) of each."""
    rng = np.random.default_rng(seed)
    vectors, truth = [], []
    for group, sizes in enumerate(((60, 50, 40, 30), (45, 35), (20, 10))):
        center = unit_vectors(1, dimension, seed=100 + group)[0].astype(np.float64)
        for part, size in enumerate(sizes):
            offset = unit_vectors(1, dimension, seed=200 + 10 * group + part)[0]
            noise = rng.normal(size=(size, dimension)) * 0.02
            vectors.append(center + 0.45 * offset.astype(np.float64) + noise)
            truth += [(group, part)] * size
    found = np.concatenate(vectors)
    order = rng.permutation(len(found))
    unit = found / np.linalg.norm(found, axis=1, keepdims=True)
    return kmeans.quantize(unit[order].astype(np.float16)), [truth[n] for n in order]


def test_groups_and_their_parts_are_found_again():
    """Three groups become the first level, their parts the second, each by size."""
    rows, truth = nested_blobs()

    tree = grow(rows, (3, 4), 50, seed=0)
    leaves, _ = descend(rows, tree)

    paths = leaf_paths(tree)
    found = [tuple(paths[leaf].split("/")) for leaf in leaves]
    assert {top for top, _ in found} == {"c000", "c001", "c002"}
    assert {(top, group) for (top, _), (group, _) in zip(found, truth, strict=True)} == {
        ("c000", 0),
        ("c001", 1),
        ("c002", 2),
    }
    largest = [t for f, t in zip(found, truth, strict=True) if f[0] == "c000"]
    parts = {f[1]: t[1] for f, t in zip(found, truth, strict=True) if f[0] == "c000"}
    assert len(largest) == 180
    assert parts == {"c000": 0, "c001": 1, "c002": 2, "c003": 3}


def test_the_tree_adds_up():
    """Children hold what their parent holds, siblings go by size, and paths are in text order."""
    rows = kmeans.quantize(unit_vectors(900, 32))

    tree = grow(rows, (5, 4, 3), 8, seed=1)

    sizes = dict(zip(tree.paths, tree.sizes, strict=True))
    children: dict[str, list[int]] = {}
    for path, size in sizes.items():
        children.setdefault(path.rpartition("/")[0], []).append(size)
    assert list(tree.paths) == sorted(tree.paths)
    assert sum(children[""]) == 900
    assert all(sum(found) == sizes[path] for path, found in children.items() if path)
    assert all(path.count("/") == 2 for path in leaf_paths(tree))
    assert len(leaf_paths(tree)) == 60


def test_the_sample_goes_where_the_fit_put_it():
    """Descending gives each row of the sample the leaf that it was counted in."""
    rows = kmeans.quantize(unit_vectors(400, 24))
    tree = grow(rows, (4, 3, 2), 20, seed=2)

    leaves, distances = descend(rows, tree)

    paths = leaf_paths(tree)
    assert [paths[leaf] for leaf in leaves] == [tree.paths[node] for node in tree.members]
    assert distances.dtype == np.float32
    assert 0 <= distances.min() <= distances.max() < 1.2


def test_each_row_descends_alone():
    """Cutting and shuffling rows changes neither leaf nor distance."""
    rows = kmeans.quantize(unit_vectors(700, 24))
    tree = grow(rows[:300], (4, 3), 10, seed=3)
    order = np.random.default_rng(1).permutation(len(rows))

    leaves, distances = descend(rows, tree)
    mixed = descend(rows[order], tree)
    slices = [descend(rows[s : s + 61], tree) for s in range(0, len(rows), 61)]

    assert (mixed[0] == leaves[order]).all()
    assert (mixed[1] == distances[order]).all()
    assert (np.concatenate([part[0] for part in slices]) == leaves).all()
    assert (np.concatenate([part[1] for part in slices]) == distances).all()


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_small_samples_have_full_depth(rows):
    """Every leaf lies as deep as asked for, though a node may have one child only."""
    vectors = kmeans.quantize(unit_vectors(rows, 16))

    tree = grow(vectors, (3, 3, 3), 5, seed=0)

    assert {path.count("/") for path in leaf_paths(tree)} == {2}
    assert len(leaf_paths(tree)) <= rows
    assert min(tree.sizes) >= 1


def test_seed_and_sample_are_all_that_matters():
    """Twice the same, and another seed gives another tree."""
    rows = kmeans.quantize(unit_vectors(300, 24))

    first, again, other = (grow(rows, (4, 3), 3, seed=seed) for seed in (0, 0, 1))

    assert first.centers.tobytes() == again.centers.tobytes()
    assert (first.paths, first.members) == (again.paths, again.members)
    assert first.centers.tobytes() != other.centers.tobytes()
