"""From the root of a tree to its most probable leaves, following the best branches of each level.

The probability of a node is that of its parent times its share among its siblings: the softmax of
the scaled cosines between the image's vector and the siblings' vectors. The leaves of a tree then
add up to 1, and a leaf has the same probability however it is found.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.categorize import fixed_point
from stages.categorize.kmeans import UNIT

_BLOCK_ROWS = 4096  # rows widened to float64 at once

Vectors = NDArray[np.int16]
_Candidates = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""Rows, nodes that they may go to, and the logarithm of how probable that is."""


@dataclass(frozen=True)
class Branches:
    """A tree whose nodes have vectors.

    Attributes:
        vectors: (nodes, dimension) unit vectors in units of 1/16384, siblings side by side.
        first: (nodes + 1,) number of the first child, of the root first; -1 for a leaf.
        count: (nodes + 1,) number of children.
    """

    vectors: Vectors
    first: NDArray[np.int64]
    count: NDArray[np.int64]

    @classmethod
    def make(cls, vectors: Vectors, parents: Sequence[int]) -> "Branches":
        """Take a tree whose nodes stand level by level; the parent of the first level is -1."""
        first = np.full(len(parents) + 1, -1, np.int64)
        count = np.zeros(len(parents) + 1, np.int64)
        for node, parent in enumerate(parents):
            if first[parent + 1] < 0:
                first[parent + 1] = node
            assert node == first[parent + 1] + count[parent + 1], "siblings stand side by side"
            count[parent + 1] += 1
        return cls(vectors, first, count)

    def children(self, node: int) -> slice:
        """Return the numbers of a node's children, or of the root's for -1."""
        first = int(self.first[node + 1])
        return slice(first, first + int(self.count[node + 1]))


@dataclass(frozen=True)
class Best:
    """The two most probable leaves of each row among those that the search has met.

    Attributes:
        leaf: (rows,) number of the best leaf's node.
        probability: (rows,) its probability in units of 2^-30.
        second: (rows,) that of the second-best; 0 where the search met one only.
        product: (rows,) inner product of row and best leaf, in units of 1/16384^2.
    """

    leaf: NDArray[np.int64]
    probability: NDArray[np.int64]
    second: NDArray[np.int64]
    product: NDArray[np.int64]


def search(rows: Vectors, tree: Branches, factor: int, width: int) -> Best:
    """Find the most probable leaf of each row and the next one.

    A level keeps the `width` most probable nodes of each row, leaves met before among them; equally
    probable ones go by number. With a width of all leaves this is an exhaustive search. A row's
    answer does not depend on the other rows: inner products are exact, see `kmeans`, and the rest
    is counted in whole numbers.

    Args:
        rows: (rows, dimension) unit vectors in units of 1/16384.
        tree: The tree.
        factor: Of `fixed_point.scale_factor`.
        width: Nodes kept, at least 2.
    """
    parts = [
        _search(rows[start : start + _BLOCK_ROWS], tree, factor, width)
        for start in range(0, max(1, len(rows)), _BLOCK_ROWS)
    ]
    return Best(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _search(
    rows: Vectors, tree: Branches, factor: int, width: int
) -> tuple[NDArray[np.int64], ...]:
    wide = rows.astype(np.float64)
    row = np.arange(len(rows), dtype=np.int64)
    node = np.full(len(rows), -1, np.int64)
    logarithm = np.zeros(len(rows), np.int64)
    while True:
        inner = tree.first[node + 1] >= 0
        if not inner.any():
            break
        ended: _Candidates = (row[~inner], node[~inner], logarithm[~inner])
        found = _expand(wide, (row[inner], node[inner], logarithm[inner]), tree, factor)
        row, node, logarithm = (
            np.concatenate(values) for values in zip(ended, *found, strict=True)
        )
        order = np.lexsort((node, -logarithm, row))
        row, node, logarithm = row[order], node[order], logarithm[order]
        starts = np.searchsorted(row, np.arange(len(rows)))
        kept = np.arange(len(row)) - starts[row] < width
        row, node, logarithm = row[kept], node[kept], logarithm[kept]
    # What is left lies row by row, the most probable first.
    starts = np.searchsorted(row, np.arange(len(rows)))
    probability = fixed_point.exp_negative(-logarithm)
    several = np.diff(np.append(starts, len(row))) > 1
    second = np.zeros(len(rows), np.int64)
    second[several] = probability[starts[several] + 1]
    leaf = node[starts]
    products = np.einsum("rd,rd->r", wide, tree.vectors[leaf].astype(np.float64))
    return leaf, probability[starts], second, products.astype(np.int64)


def _expand(
    wide: NDArray[np.float64], inner: _Candidates, tree: Branches, factor: int
) -> list[_Candidates]:
    """Replace inner nodes by their children."""
    row, node, logarithm = inner
    found: list[_Candidates] = []
    for parent in np.unique(node):
        mine = node == parent
        below = tree.children(int(parent))
        steps = _shares(wide[row[mine]], tree.vectors[below], factor)
        whole = logarithm[mine][:, None] + steps
        numbers = np.broadcast_to(np.arange(below.start, below.stop), whole.shape)
        owners = np.broadcast_to(row[mine][:, None], whole.shape)
        found.append((owners.ravel(), numbers.ravel(), whole.ravel()))
    return found


def _shares(wide: NDArray[np.float64], siblings: Vectors, factor: int) -> NDArray[np.int64]:
    products = (wide @ siblings.T.astype(np.float64)).astype(np.int64)
    return fixed_point.log_softmax(fixed_point.logits(products, UNIT, factor))
