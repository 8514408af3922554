"""Draws are a function of identity and seed, the same everywhere."""

import hashlib

import numpy as np

from curation.draw import draw_hashes

IDS = [hashlib.sha256(bytes([n % 256, n // 256])).digest()[:16] for n in range(4000)]


def test_draws_never_change():
    """These values hold for ever: every sample and split follows from them."""
    found = draw_hashes([bytes(16), bytes(range(16))], seed=7)

    assert found.dtype == np.dtype("<u8")
    assert [int(value) for value in found] == [10030620567910886872, 5854872555871947084]


def test_order_and_company_do_not_matter():
    """An image's draw is its own, whichever shard it comes in."""
    whole = draw_hashes(IDS, 1)

    assert draw_hashes(reversed(IDS), 1).tolist() == whole.tolist()[::-1]
    assert draw_hashes(IDS[10:20], 1).tolist() == whole[10:20].tolist()


def test_another_seed_is_another_draw():
    """Seeds, negative ones too, give draws that have nothing to do with each other."""
    draws = [draw_hashes(IDS, seed) for seed in (0, 1, -1, 2**63 - 1, -(2**63))]

    ranks = [np.argsort(np.argsort(draw)) for draw in draws]
    for n, left in enumerate(ranks):
        for right in ranks[n + 1 :]:
            assert abs(np.corrcoef(left, right)[0, 1]) < 0.1


def test_draws_are_spread_over_the_whole_range():
    """Each sixteenth of the range gets its share."""
    counts = np.bincount((draw_hashes(IDS, 3) >> np.uint64(60)).astype(int), minlength=16)

    assert counts.min() > 180
    assert counts.max() < 320


def test_no_images_no_draws():
    """Nothing in, nothing out, of the right type."""
    assert draw_hashes([], 0).dtype == np.dtype("<u8")
    assert len(draw_hashes([], 0)) == 0
