"""What a report says about the duplicate groups of a dataset."""

from typing import Any

import numpy as np
import pyarrow as pa

from stages.dedup.groups import Cut, Groups, Links, fixed_words
from stages.dedup.matchers import Hashes, Index, Signatures

NUM_LISTED = 20
"""Groups, cuts and hashes that a list names."""

MAX_SPREAD_HASHES = 4096
"""Hashes of a group up to which its spread is measured: 16 M pairs, some 10 ms."""


def group_facts(
    image_ids: pa.Array,
    contents: Index,
    found: Signatures,
    weights: Index,
    links: Links,
    cut: Cut,
    groups: Groups,
) -> dict[str, Any]:
    """Count the groups, and list the largest and everything that was cut.

    Args:
        image_ids: Identity of each row.
        contents: Row -> content.
        found: The signatures of the rows.
        weights: Signature -> number of its different contents.
        links: All near pairs.
        cut: What was left of them.
        groups: The answer.
    """
    sizes = np.bincount(groups.label, minlength=1)
    is_exact, distance = groups.is_exact, groups.distance
    unbelieved = np.flatnonzero(~cut.believed)
    unbelieved = unbelieved[np.lexsort((found.phash[unbelieved], -weights[unbelieved]))]
    counts = np.bincount(distance[~is_exact & (distance >= 0)], minlength=1)
    return {
        "num_groups": int((sizes > 1).sum()),
        "num_rows_in_groups": int(sizes[sizes > 1].sum()),
        "num_redundant_rows": int((sizes - 1).clip(0).sum()),
        "num_exact_rows": int(is_exact.sum()),
        "num_perceptual_rows": int((~is_exact & (distance >= 0)).sum()),
        "rows_by_distance": {str(bits): int(n) for bits, n in enumerate(counts) if n},
        "num_rows_without_signature": int((found.of_row < 0).sum()),
        "num_links": len(links.left),
        "num_links_cut": len(links.left) - len(cut.links.left),
        "num_components_cut": len(cut.reports),
        "components_cut": cut.reports[:NUM_LISTED],
        "num_hashes_unlinked": len(unbelieved),
        "hashes_unlinked": [
            {"phash": f"{int(found.phash[s]):016x}", "num_contents": int(weights[s])}
            for s in unbelieved[:NUM_LISTED]
        ],
        "largest_groups": _largest(image_ids, contents, found, groups, sizes),
    }


def _largest(
    image_ids: pa.Array, contents: Index, found: Signatures, groups: Groups, sizes: Index
) -> list[dict[str, Any]]:
    """Describe the largest groups: a spread far above the radius is a sign of a false chain."""
    shared = np.flatnonzero(sizes > 1)
    if len(shared) > NUM_LISTED:
        least = np.partition(sizes[shared], -NUM_LISTED)[-NUM_LISTED]
        shared = shared[sizes[shared] >= least]
    ids = fixed_words(image_ids)[groups.first[shared]]
    largest = shared[np.lexsort((ids[:, 1], ids[:, 0], -sizes[shared]))][:NUM_LISTED].tolist()
    described = []
    for group in largest:
        members = np.flatnonzero(groups.label == group)
        of_row = found.of_row[members]
        described.append(
            {
                "group": image_ids[int(groups.first[group])].as_py().hex(),
                "num_rows": len(members),
                "num_contents": len(np.unique(contents[members])),
                "spread_bits": _spread(np.unique(found.phash[of_row[of_row >= 0]])),
            }
        )
    return described


def _spread(hashes: Hashes) -> int | None:
    """Return the greatest Hamming distance between two hashes; null where there are too many."""
    if not 0 < len(hashes) <= MAX_SPREAD_HASHES:
        return None
    return max(int(np.bitwise_count(hashes ^ value).max()) for value in hashes)
