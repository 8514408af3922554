"""The tree of a build: its width, its growth on the training rows, and small leaves cut off."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stages.categorize import kmeans
from stages.categorize.build_sample import Sample
from stages.categorize.tree import Tree, descend, grow, leaf_paths

_WIDEST = 100
"""Children of a node, where only the number of leaves is asked for."""


def branching_for(leaves: int) -> tuple[int, ...]:
    """Return levels of at most 100, as even as can be, for `leaves` or a little more.

    10,000 leaves are 100 x 100, 1,000 are 32 x 32.
    """
    levels = 1
    while _WIDEST**levels < leaves:
        levels += 1
    branching = []
    left = leaves
    for level in range(levels, 0, -1):
        branching.append(math.ceil(left ** (1 / level) - 1e-9))  # 100.00000000000001 is 100
        left = -(-left // branching[-1])
    return tuple(branching)


def cluster(
    sample: Sample,
    branching: Sequence[int],
    *,
    min_leaf_rows: int,
    iterations: int,
    seed: int,
    say: Callable[[str], None],
) -> tuple[Tree, NDArray[np.int32]]:
    """Grow the tree on the training rows, and say each row's leaf."""
    training = sample.vectors[sample.training]
    shape = " x ".join(str(width) for width in branching)
    say(f"clustering {len(training):,} vectors into {shape}")
    tree = grow(training, branching, iterations, seed)
    whole = len(leaf_paths(tree))
    tree = prune(tree, min_leaf_rows)
    count = len(leaf_paths(tree))
    say(f"{count:,} leaves; {whole - count:,} with few rows went to their siblings")
    labels, _ = descend(sample.vectors, tree)
    return tree, labels


def prune(tree: Tree, min_rows: int) -> Tree:
    """Return the tree without leaves of fewer rows; a node's largest leaf stays.

    Rows of what is gone descend to its nearest sibling, so sizes change, and `members` are gone.
    """
    kept = []
    largest: set[str] = set()
    for number, path in enumerate(tree.paths):
        parent = path.rpartition("/")[0]
        is_leaf = path.count("/") == tree.levels - 1
        if not is_leaf or tree.sizes[number] >= min_rows or parent not in largest:
            kept.append(number)
            if is_leaf:
                largest.add(parent)
    return replace(
        tree,
        paths=tuple(tree.paths[number] for number in kept),
        centers=tree.centers[kept],
        sizes=tuple(tree.sizes[number] for number in kept),
        members=(),
    )


def centers_by_level(tree: Tree) -> list[kmeans.Integers]:
    """Return for each level from the leaves up the centres of the leaves' ancestors there."""
    where = {path: number for number, path in enumerate(tree.paths)}
    parts = [path.split("/") for path in leaf_paths(tree)]
    return [
        tree.centers[[where["/".join(part[:depth])] for part in parts]]
        for depth in range(tree.levels, 0, -1)
    ]
