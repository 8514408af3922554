"""From pairs to groups: connected components that are not believed beyond a size.

Rows with the same content, and rows with the same hashes, meet in one node each, so a bucket of
100,000 equal rows costs a sort and no pair. A group is a connected component: a near b near c makes
one group of a, b and c, though a and c may be further apart than the radius. Two things keep such
chains, and degenerate hashes, from swallowing a corpus: a component with more than `max_group`
different contents loses its longest links, one bit at a time, until its pieces are small enough (at
0 bits rows with equal hashes fall apart too, and only equal content is left); and every such cut is
reported.

All of it is decided on the whole set of rows, so it does not depend on how they lie in shards. So
it needs memory for each row: what there is one of for each row has 4 bytes, and nothing becomes a
Python object.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stages.dedup.matchers import Index, Mask

CONTENT = "images.content_sha256"
NO_CONTENT: npt.NDArray[np.uint64] = np.empty((0, 4), ">u8")


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
    # Not combined by Arrow, whose pool keeps what was freed.
    words = np.concatenate([fixed_words(c) for c in rows[CONTENT].chunks] or [NO_CONTENT])
    order = np.lexsort(tuple(words.T))
    is_new = np.ones(len(words), bool)
    is_new[1:] = False
    for word in words.T:
        ordered = word[order]
        is_new[1:] |= ordered[1:] != ordered[:-1]
    codes = np.empty(len(words), np.int32)
    codes[order] = np.cumsum(is_new, dtype=np.int32) - 1
    lone = np.flatnonzero(rows[CONTENT].is_null().to_numpy())
    codes[lone] = codes.max(initial=-1) + 1 + np.arange(len(lone), dtype=np.int32)
    return codes


def fixed_words(values: pa.Array) -> npt.NDArray[np.uint64]:
    """Return binary values of one width, which is a multiple of 8 bytes, as big-endian words.

    Returns:
        A view, (values, words); what stands for a null has no meaning.
    """
    width = values.type.byte_width
    if not len(values):
        return np.empty((0, width // 8), ">u8")
    found = np.frombuffer(values.buffers()[1], ">u8").reshape(-1, width // 8)
    return found[values.offset : values.offset + len(values)]


def sorted_unique(values: Index) -> Index:
    """Return the different values, rising; `values` is sorted in place.

    `np.unique` makes a table of hashes of them, which is several times as large.
    """
    values.sort()
    is_new = np.ones(len(values), bool)
    is_new[1:] = values[1:] != values[:-1]
    return values[is_new]


def distinct_contents(of_row: Index, contents: Index, num_signatures: int) -> Index:
    """Count the different contents of each signature."""
    has = of_row >= 0
    num_contents = int(contents.max(initial=0)) + 1
    keys = of_row[has].astype(np.int64)
    keys *= num_contents
    keys += contents[has]
    counts = np.bincount(sorted_unique(keys) // num_contents, minlength=num_signatures)
    return counts.astype(np.int32)


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
    labels = original
    for bits in range(int(links.distance.max(initial=0)), -1, -1):
        is_large = (_sums(labels, weights) > max_group)[labels]
        if not is_large.any():
            break
        for label in np.unique(original[is_large]).tolist():
            radius[label] = bits - 1 if bits else None
        links = links.where(~(is_large[links.left] & (links.distance == bits)))
        if bits == 0:
            believed = ~is_large
        else:
            labels = _components(len(weights), links)
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
    num_signatures = len(cut.believed)
    linkable = np.flatnonzero(of_row >= 0).astype(np.int32)
    linkable = linkable[cut.believed[of_row[linkable]]]
    nodes = np.arange(num_rows, dtype=np.int32) if contents is None else contents
    pieces = _components(num_signatures, cut.links)
    label = _joined(nodes, linkable, pieces, pieces[of_row[linkable]])

    if contents is None:
        is_exact = np.zeros(num_rows, bool)
    else:
        is_exact = (np.bincount(nodes) > 1)[nodes]
    far = np.iinfo(np.int16).max
    nearest = np.full(num_signatures, far, np.int16)
    np.minimum.at(nearest, cut.links.left, cut.links.distance)
    np.minimum.at(nearest, cut.links.right, cut.links.distance)
    nearest[np.bincount(of_row[linkable], minlength=num_signatures) > 1] = 0
    distance = np.full(num_rows, far, np.int16)
    distance[linkable] = nearest[of_row[linkable]]
    distance[is_exact] = 0
    distance[distance == far] = -1
    return Groups(label, _first_rows(image_ids, label), distance, is_exact)


def _joined(nodes: Index, linkable: Index, pieces: Index, piece: Index) -> Index:
    """Join contents and pieces, which are components of signatures.

    Nearly all rows of a content are in the same piece, so a graph is made only of the others.

    Args:
        nodes: Row -> content.
        linkable: Rows that are in a piece.
        pieces: Signature -> piece.
        piece: Linkable row -> piece.

    Returns:
        Row -> group, numbered from 0 without gaps.
    """
    num_pieces = int(pieces.max(initial=-1)) + 1
    of_node = np.full(int(nodes.max(initial=-1)) + 1, -1, np.int32)
    of_node[nodes[linkable]] = piece
    other = of_node[nodes[linkable]]
    differ = other != piece
    none = np.zeros(int(differ.sum()), np.int16)
    joined = _components(num_pieces, Links(other[differ], piece[differ], none))
    is_alone = of_node < 0
    of_node[~is_alone] = joined[of_node[~is_alone]]
    of_node[is_alone] = num_pieces + np.arange(int(is_alone.sum()), dtype=np.int32)
    label = of_node[nodes]
    is_used = np.zeros(int(label.max(initial=-1)) + 1, bool)
    is_used[label] = True
    return np.asarray((np.cumsum(is_used, dtype=np.int32) - 1)[label])


def _first_rows(image_ids: pa.Array, label: Index) -> Index:
    """Return the row with the smallest identity of each group."""
    sizes = np.bincount(label)
    first = np.empty(len(sizes), np.int32)
    first[label] = np.arange(len(label), dtype=np.int32)
    shared = np.flatnonzero((sizes > 1)[label]).astype(np.int32)
    ids = fixed_words(image_ids)
    order = shared[np.lexsort((ids[shared, 1], ids[shared, 0], label[shared]))]
    is_first = np.ones(len(order), bool)
    is_first[1:] = np.diff(label[order]) > 0
    order = order[is_first]
    first[label[order]] = order
    return first


def _components(num_nodes: int, links: Links) -> Index:
    """Number the connected components; numbers have no meaning beyond equality."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    # In the types that scipy's graphs have, which it would otherwise copy them to.
    ones = np.ones(len(links.left), np.float64)
    ends = links.left.astype(np.int32, copy=False), links.right.astype(np.int32, copy=False)
    graph = coo_array((ones, ends), shape=(num_nodes, num_nodes)).tocsr()
    found: Any = connected_components(graph, directed=False)
    return np.asarray(found[1], dtype=np.int32)


def _sums(labels: Index, weights: Index) -> Index:
    sums = np.zeros(int(labels.max(initial=0)) + 1, weights.dtype)
    np.add.at(sums, labels, weights)
    return sums
