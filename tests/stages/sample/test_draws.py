"""Keys draw without replacement in proportion to exp(score / T)."""

import hashlib

import numpy as np
import pytest

from stages.sample.draws import draw_keys, inclusion_weights, round_weights, take_largest


def make_ids(count, salt=""):
    """Make `count` ids that look like real ones."""
    data = b"".join(hashlib.sha256(f"{salt}{i}".encode()).digest()[:16] for i in range(count))
    return np.frombuffer(data, np.uint8).reshape(count, 16)


def test_keys_are_pinned():
    """The draw of an image is part of the format: it must never change between versions."""
    keys = draw_keys(make_ids(2), np.array([0, 500_000]), temperature=10, seed=7)

    assert keys.tolist() == [6538907315, 14509649944]


def test_a_higher_score_never_gives_a_smaller_key():
    """Raising one image's score can only help it."""
    ids = make_ids(1000)
    low = np.arange(1000) * 500

    before = draw_keys(ids, low, 5, 1)
    after = draw_keys(ids, low + 1, 5, 1)

    assert (after >= before).all()
    assert (after > before).any()


def test_first_draws_are_proportional_to_exp_of_the_score():
    """Of pairs whose scores differ by T ln 3, the better one wins three times in four."""
    ids = make_ids(20_000)
    score = np.where(np.arange(20_000) % 2, round(10_000 * 10 * np.log(3)), 0)

    keys = draw_keys(ids, score, 10, 3).reshape(-1, 2)

    assert (keys[:, 1] > keys[:, 0]).mean() == pytest.approx(0.75, abs=0.015)


def test_copies_draw_independently():
    """The repeats of an image have noise of their own."""
    ids = make_ids(5000)
    zero = np.zeros(5000, np.int64)

    first, second = (draw_keys(ids, zero, 1, 1, copy) for copy in (0, 1))

    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05


def test_a_larger_draw_contains_the_smaller():
    """Growing a sample never swaps images."""
    ids, leaf = make_ids(200), np.zeros(200, np.int32)
    keys = draw_keys(ids, np.zeros(200, np.int64), 1, 5)

    small, _ = take_largest(leaf, keys, ids, np.array([20]))
    large, _ = take_largest(leaf, keys, ids, np.array([50]))

    assert small.sum() == 20
    assert large.sum() == 50
    assert (large | ~small).all()


def test_equal_keys_go_to_the_smaller_id():
    """The order is total even where keys are equal."""
    ids = make_ids(10)
    taken, threshold = take_largest(
        np.zeros(10, np.int32), np.zeros(10, np.int64), ids, np.array([3])
    )

    smallest = sorted(bytes(row) for row in ids)[:3]
    assert {bytes(row) for row in ids[taken]} == set(smallest)
    assert threshold.tolist() == [0]


def test_weights_estimate_the_size_of_the_whole():
    """Averaged over many draws, the weights of the drawn add up to the number of candidates."""
    score = np.arange(300) * 1000
    totals = []
    for seed in range(200):
        ids, leaf = make_ids(300), np.zeros(300, np.int32)
        keys = draw_keys(ids, score, 10, seed)
        taken, threshold = take_largest(leaf, keys, ids, np.array([60]))
        totals.append(inclusion_weights(score[taken], threshold[leaf[taken]], 10).sum())

    assert np.mean(totals) == pytest.approx(300, rel=0.03)


def test_rounded_weights_keep_three_digits():
    """Rounding is below one part in four thousand, and whole numbers stay."""
    weights = np.array([1.0, 3.0, 1 / 3, 123456.789])

    rounded = round_weights(weights)

    assert rounded[:2].tolist() == [1.0, 3.0]
    assert rounded == pytest.approx(weights, rel=1 / 4096)
