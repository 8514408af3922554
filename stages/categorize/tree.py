"""A tree of clusters: k-means, then k-means again within each cluster."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stages.categorize import kmeans

ROOT = ""


@dataclass(frozen=True)
class Tree:
    """Clusters of clusters, all leaves at the same depth.

    Attributes:
        paths: Path of every node but the root: parents before their children, siblings by size,
            which is the order of the paths as text.
        centers: (nodes, dimension) unit vectors in units of 1/16384, in the order of `paths`.
        sizes: Rows of the sample in each node.
        levels: Depth of the leaves.
        converged: Whether every fit came to rest within its rounds.
        members: For each row of the sample the node of its leaf; empty in a tree that was loaded.
    """

    paths: tuple[str, ...]
    centers: kmeans.Integers
    sizes: tuple[int, ...]
    levels: int
    converged: bool
    members: tuple[int, ...] = field(default=(), repr=False)


def grow(vectors: kmeans.Integers, branching: Sequence[int], iterations: int, seed: int) -> Tree:
    """Cluster the sample, then the rows of each cluster, level by level.

    Args:
        vectors: (rows, dimension), at least one row, in random order.
        branching: Clusters wanted below each node of each level, at least 1.
        iterations: Limit to how often the centres of one fit are moved.
        seed: Draws the first centres; every node draws its own from it and its path.
    """
    found: dict[str, tuple[kmeans.Integers, int]] = {}
    leaf_of: dict[str, NDArray[np.intp]] = {ROOT: np.arange(len(vectors))}
    converged = True
    for width in branching:
        below: dict[str, NDArray[np.intp]] = {}
        for parent, rows in leaf_of.items():
            mine = vectors[rows]
            clusters = kmeans.fit(mine, width, iterations, _seed_of(seed, parent))
            converged = converged and clusters.converged
            labels, _ = kmeans.nearest_centers(mine, clusters.centers)
            kept = np.unique(labels)  # a row between two centres may have left one empty
            for number, name in zip(kept, _node_names(len(kept)), strict=True):
                path = f"{parent}/{name}" if parent else name
                below[path] = rows[labels == number]
                found[path] = (clusters.centers[number], len(below[path]))
        leaf_of = below
    paths = tuple(sorted(found))
    members = np.empty(len(vectors), np.int64)
    place = {path: number for number, path in enumerate(paths)}
    for path, rows in leaf_of.items():
        members[rows] = place[path]
    return Tree(
        paths,
        np.stack([found[path][0] for path in paths]),
        tuple(found[path][1] for path in paths),
        len(branching),
        converged,
        tuple(members.tolist()),
    )


def leaf_paths(tree: Tree) -> list[str]:
    """Return the paths of the leaves, in order."""
    return [path for path in tree.paths if path.count("/") == tree.levels - 1]


def descend(vectors: kmeans.Integers, tree: Tree) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Send every row down the tree, at each node to the nearest centre below it.

    Returns:
        Number of the leaf among the leaves, and 1 - cosine to its centre, for each row.
    """
    children: dict[str, list[int]] = {}
    for node, path in enumerate(tree.paths):
        children.setdefault(path.rpartition("/")[0], []).append(node)
    at = np.full(len(vectors), -1, np.int32)
    products = np.zeros(len(vectors), np.int64)
    for _ in range(tree.levels):
        reached = at.copy()
        for node in np.unique(at):
            mine = np.flatnonzero(at == node)
            below = np.array(children[tree.paths[node] if node >= 0 else ROOT], np.int32)
            labels, products[mine] = kmeans.nearest_centers(vectors[mine], tree.centers[below])
            reached[mine] = below[labels]
        at = reached
    distances = kmeans.cosine_distances(vectors, tree.centers, at, products)
    number = np.cumsum([path.count("/") == tree.levels - 1 for path in tree.paths]) - 1
    return number[at].astype(np.int32), distances


def _seed_of(seed: int, parent: str) -> int:
    if parent == ROOT:
        return seed
    digest = hashlib.sha256(f"longtail-tree-1:{seed}:{parent}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def _node_names(count: int) -> list[str]:
    """Return `c000`, `c001`, ..., wide enough that text order is the order of numbers."""
    width = max(3, len(str(count - 1)))
    return [f"c{number:0{width}d}" for number in range(count)]
