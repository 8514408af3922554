"""Thresholds and sigmoids from a few labelled scores."""

import numpy as np
import pytest

from curation.calibration import Platt, cut_for, fit_platt, log_loss, ranking, sigmoid


def test_the_lowest_threshold_that_is_precise_enough():
    """As much is kept as can be; equal scores are kept together or not at all."""
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.6, 0.5])
    correct = np.array([True, True, False, True, True, False])

    cut = cut_for(scores, correct, 0.8)

    assert cut is not None
    assert (cut.threshold, cut.kept_share, cut.precision) == (0.6, 5 / 6, 0.8)
    strict = cut_for(scores, correct, 1.0)
    assert strict is not None
    assert (strict.threshold, strict.kept_share) == (0.8, 2 / 6)
    assert cut_for(np.array([0.5, 0.5]), np.array([True, False]), 0.9) is None
    assert cut_for(scores, np.zeros(6, bool), 0.1) is None


def test_platt_finds_the_sigmoid_that_made_the_labels():
    """Slope and bias come back from labels drawn with them, and the loss falls."""
    generator = np.random.default_rng(0)
    scores = generator.normal(3, 2, 20_000)
    labels = generator.random(20_000) < sigmoid(0.7 * scores - 3)

    found = fit_platt(scores, labels)

    assert found.slope == pytest.approx(0.7, abs=0.03)
    assert found.bias == pytest.approx(-3, abs=0.1)
    assert log_loss(found(scores), labels) < log_loss(sigmoid(scores), labels) - 0.1
    assert found(scores)[labels].mean() > found(scores)[~labels].mean()


def test_separable_labels_give_a_finite_sigmoid():
    """Platt's targets keep perfectly separated examples from an infinite slope."""
    scores = np.concatenate([np.linspace(-3, -1, 20), np.linspace(1, 3, 20)])

    found = fit_platt(scores, scores > 0)

    assert 0 < found.slope < 20
    assert np.isfinite(found.bias)


def test_sigmoid_does_not_overflow():
    """Far out it is 0 and 1, without a warning."""
    values = np.array([-1e4, 0, 1e4])

    with np.errstate(over="raise", invalid="raise"):
        assert sigmoid(values).tolist() == [0, 0.5, 1]
        assert Platt(2, -1)(np.array([0.5])).tolist() == [0.5]


def test_ranking_is_the_area_under_the_curve():
    """All in order gives 1, reversed 0, ties a half each."""
    labels = np.array([True, True, False, False])

    assert ranking(np.array([4.0, 3, 2, 1]), labels) == 1
    assert ranking(np.array([1.0, 2, 3, 4]), labels) == 0
    assert ranking(np.array([1.0, 1, 1, 1]), labels) == 0.5
    assert ranking(np.array([4.0, 1, 2, 1]), labels) == pytest.approx(0.625)
