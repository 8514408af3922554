"""What can be compared, and all pairs that are near."""

import numpy as np
import pyarrow as pa
import pytest

from stages.dedup import matchers
from stages.dedup.matchers import Signatures, near, signatures


def make_signatures(phash, dhash=None):
    """Make signatures that are taken as they come."""
    phash = np.asarray(phash, np.uint64)
    dhash = np.zeros_like(phash) if dhash is None else np.asarray(dhash, np.uint64)
    return Signatures(phash, dhash, np.arange(len(phash)), np.arange(len(phash)))


def families(seed, count):
    """Make hashes of which many are near each other."""
    rng = np.random.default_rng(seed)
    found = rng.integers(0, 2**63, 20, dtype=np.uint64)[rng.integers(0, 20, count)]
    for _ in range(3):
        found ^= np.uint64(1) << rng.integers(0, 64, count, dtype=np.uint64)
    return np.unique(found)


def by_hand(left, right, radius):
    """Return the near pairs, found one by one."""
    return {
        (i, j, (int(a) ^ int(b)).bit_count())
        for i, a in enumerate(left)
        for j, b in enumerate(right)
        if a != b and (int(a) ^ int(b)).bit_count() <= radius
    }


@pytest.mark.parametrize("chunk_pairs", [1, 700, 1 << 17])
@pytest.mark.parametrize("radius", [0, 5, 8])
def test_near_finds_every_pair_whatever_the_chunk(monkeypatch, chunk_pairs, radius):
    """Between two sets and within one, at the borders of chunks too."""
    monkeypatch.setattr(matchers, "CHUNK_PAIRS", chunk_pairs)
    left, right = families(1, 90), families(2, 70)
    right = np.unique(np.concatenate([right, left[:10]]))

    between = near(make_signatures(left), make_signatures(right), radius, 64)
    within = near(make_signatures(left), None, radius, 64)

    expected = by_hand(left, right, radius)
    assert set(zip(*(a.tolist() for a in between), strict=True)) == expected
    inner = {(i, j, d) for i, j, d in by_hand(left, left, radius) if i < j}
    assert set(zip(*(a.tolist() for a in within), strict=True)) == inner
    assert radius == 0 or len(inner) > 30


def test_the_second_hash_is_compared_up_to_its_radius():
    """Sixteen bits of dHash pass at 16, seventeen do not."""
    left = make_signatures([0xFF], [0])
    right = make_signatures([0xFE, 0xFD], [(1 << 16) - 1, (1 << 17) - 1])

    i, j, distance = near(left, right, 8, 16)

    assert (i.tolist(), j.tolist(), distance.tolist()) == ([0], [0], [1])


def test_nothing_is_near_nothing():
    """Empty blocks have no pairs."""
    none, one = make_signatures([]), make_signatures([1])

    for left, right in ((none, None), (none, one), (one, none), (one, None)):
        assert [len(part) for part in near(left, right, 8, 16)] == [0, 0, 0]


def test_rows_with_equal_hashes_share_a_signature_and_plain_ones_have_none():
    """The first row stands for all; nulls, low entropy and hashes of few bits are left out."""
    full = 0x0F0F_3C3C_5555_9696
    rows = pa.table(
        {
            "inspect.phash": pa.array([full, None, full, 1 << 63, full, full], pa.uint64()),
            "inspect.dhash": pa.array([7, None, 7, 7, 8, 7], pa.uint64()),
            "inspect.entropy": pa.array([1.0, None, 5, 5, 5, 0.5], pa.float32()),
        }
    )

    found = signatures(rows, min_entropy=1.0)

    assert found.of_row.tolist() == [0, -1, 0, -1, 1, -1]
    assert found.first_row.tolist() == [0, 4]
    assert list(zip(found.phash.tolist(), found.dhash.tolist(), strict=True)) == (
        [(full, 7), (full, 8)]
    )
