"""From pairs to groups: connected components that are not believed beyond a size.

Rows with the same content, and rows with the same hashes, meet in one node each, so a bucket of
100,000 equal rows costs a sort and no pair. A group is a connected component: a near b near c makes
one group of a, b and c, though a and c may be further apart than the radius. Two things keep such
chains, and degenerate hashes, from swallowing a corpus: a component with more than `max_group`
different contents loses its longest links, one bit at a time, until its pieces are small enough (at
0 bits rows with equal hashes fall apart too, and only equal content is left); and every such cut is
reported.

All of it is decided on the whole set of rows, so it does not depend on how they lie in shards.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stages.dedup.matchers import Index, Mask

CONTENT = "images.content_sha256"


@dataclass(frozen=True)
class Links:
    """Near pairs of different signatures, each once.

    Attributes:
        left: Signature.
        right: Signature.
        distance: Hamming distance of the pHashes, in bits.
    """

    left: Index
    right: Index
    distance: npt.NDArray[np.int16]

    def where(self, mask: Mask) -> "Links":
        """Return the links that `mask` keeps."""
        return Links(self.left[mask], self.right[mask], self.distance[mask])


@dataclass(frozen=True)
class Cut:
    """What is left after components that are too large were cut.

    Attributes:
        links: The links that are left.
        believed: Signature -> whether the rows that share it are linked.
        reports: For each component cut, how many contents it had, and the radius at which its
            largest part held together without being too large; null where no radius did.
    """

    links: Links
    believed: Mask
    reports: list[dict[str, int | None]]


@dataclass(frozen=True)
class Groups:
    """The answer, row by row.

    Attributes:
        label: Number of the row's group.
        first: Group -> its row with the smallest image_id.
        distance: As the column `distance`; -1 for null.
        is_exact: Whether another row has the same content.
    """

    label: Index
    first: Index
    distance: npt.NDArray[np.int16]
    is_exact: Mask


def content_codes(rows: pa.Table) -> Index:
    """Number the different contents; a row without content is one of its own."""
    encoded = rows[CONTENT].combine_chunks().dictionary_encode()
    codes = np.array(encoded.indices.fill_null(-1).to_numpy(), dtype=np.int64)
    lone = np.flatnonzero(codes < 0)
    codes[lone] = len(encoded.dictionary) + np.arange(len(lone))
    return codes


def distinct_contents(of_row: Index, contents: Index, num_signatures: int) -> Index:
    """Count the different contents of each signature."""
    has = of_row >= 0
    keys = np.unique(of_row[has] * (contents.max(initial=0) + 1) + contents[has])
    return np.bincount(keys // (contents.max(initial=0) + 1), minlength=num_signatures)


def cut_large(links: Links, weights: Index, max_group: int) -> Cut:
    """Cut components of signatures that have more than `max_group` contents.

    Args:
        links: All near pairs.
        weights: Signature -> number of its different contents.
        max_group: Contents that a component may have.
    """
    believed = np.ones(len(weights), bool)
    original = _components(len(weights), links)
    totals = _sums(original, weights)
    radius: dict[int, int | None] = {}
    for bits in range(int(links.distance.max(initial=0)), -1, -1):
        labels = _components(len(weights), links)
        is_large = (_sums(labels, weights) > max_group)[labels]
        if not is_large.any():
            break
        for label in np.unique(original[is_large]).tolist():
            radius[label] = bits - 1 if bits else None
        links = links.where(~(is_large[links.left] & (links.distance == bits)))
        if bits == 0:
            believed = ~is_large
    reports = [
        {"num_contents": int(totals[label]), "radius": value} for label, value in radius.items()
    ]
    return Cut(links, believed, sorted(reports, key=lambda r: -(r["num_contents"] or 0)))


def group_rows(image_ids: pa.Array, contents: Index | None, of_row: Index, cut: Cut) -> Groups:
    """Join rows over their content and over what links their signatures.

    Args:
        image_ids: Identity of each row; the smallest in a group names it.
        contents: Row -> content; null where equal content shall not link.
        of_row: Row -> signature; -1 where it has none.
        cut: The links.
    """
    num_rows = len(of_row)
    nodes = np.arange(num_rows) if contents is None else contents
    num_nodes = int(nodes.max(initial=-1)) + 1
    num_signatures = len(cut.believed)
    linkable = np.flatnonzero(of_row >= 0)
    linkable = linkable[cut.believed[of_row[linkable]]]
    links = Links(
        np.concatenate([nodes[linkable], num_nodes + cut.links.left]),
        np.concatenate([num_nodes + of_row[linkable], num_nodes + cut.links.right]),
        np.zeros(len(linkable) + len(cut.links.left), np.int16),
    )
    labels = _components(num_nodes + num_signatures, links)[nodes]

    is_exact = (np.bincount(nodes, minlength=num_nodes) > 1)[nodes]
    if contents is None:
        is_exact = np.zeros(num_rows, bool)
    far = np.iinfo(np.int16).max
    nearest = np.full(num_signatures, far, np.int16)
    np.minimum.at(nearest, cut.links.left, cut.links.distance)
    np.minimum.at(nearest, cut.links.right, cut.links.distance)
    nearest[np.bincount(of_row[linkable], minlength=num_signatures) > 1] = 0
    distance = np.full(num_rows, far, np.int16)
    distance[linkable] = nearest[of_row[linkable]]
    distance[is_exact] = 0
    distance[distance == far] = -1

    ids = np.frombuffer(b"".join(image_ids.to_pylist()), dtype=">u8").reshape(num_rows, 2)
    order = np.lexsort((ids[:, 1], ids[:, 0], labels))
    is_first = np.ones(num_rows, bool)
    is_first[1:] = np.diff(labels[order]) > 0
    compact = np.empty(num_rows, np.int64)
    compact[order] = np.cumsum(is_first) - 1
    return Groups(compact, order[is_first], distance, is_exact)


def _components(num_nodes: int, links: Links) -> Index:
    """Number the connected components; numbers have no meaning beyond equality."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ones = np.ones(len(links.left), np.int8)
    graph = coo_array((ones, (links.left, links.right)), shape=(num_nodes, num_nodes))
    found: Any = connected_components(graph.tocsr(), directed=False)
    return np.asarray(found[1], dtype=np.int64)


def _sums(labels: Index, weights: Index) -> Index:
    return np.asarray(np.bincount(labels, weights, minlength=1), dtype=np.int64)
