"""The guard: what it lets pass, what it stops, and whom it names."""

import math

import pytest
import torch

from tests.fakes.toys import make_batch
from training.guard import WARMING_STEPS, Guard, Seen, TrainingStoppedError
from training.objectives.base import Metric


def metric(total, weight=1.0):
    return Metric(torch.tensor(float(total)), torch.tensor(float(weight)))


def warm(guard, loss=2.0, role="model", steps=WARMING_STEPS):
    for step in range(steps):
        guard.check(step + 1, role, metric(loss), 1.0, Seen())
    return guard


def test_first_losses_are_no_spikes():
    """A loss may move at will before it is known what is usual."""
    guard = Guard(5.0)
    for step, loss in enumerate([0.001, 2.0, 0.5, 9.0, 2.0, 2.0]):
        guard.check(step + 1, "model", metric(loss), 1.0, Seen())


def test_roles_have_scales_of_their_own():
    """A critic's large loss is no spike of a model whose loss is small, and the other way round."""
    guard = warm(warm(Guard(5.0), 0.01), 50.0, "critic")

    guard.check(11, "critic", metric(60.0), 1.0, Seen())
    with pytest.raises(TrainingStoppedError, match="the loss 1 is more than 5 times the recent"):
        guard.check(11, "model", metric(1.0), 1.0, Seen())


def test_signs_and_empty_steps_say_nothing():
    """Losses below zero are measured by their size; a step of forbidden images has no loss."""
    guard = warm(Guard(5.0), -3.0)

    guard.check(11, "model", metric(2.0), 1.0, Seen())
    guard.check(12, "model", metric(0.0, 0.0), 0.0, Seen())
    with pytest.raises(TrainingStoppedError):
        guard.check(13, "model", metric(-30.0), 1.0, Seen())


def test_what_is_usual_survives_a_checkpoint():
    """A guard that goes on is as strict as one that was never stopped."""
    first = warm(warm(Guard(5.0), 2.0, steps=30), 0.5, "critic", steps=3)
    second = Guard(5.0)
    second.restore(first.to_json())

    with pytest.raises(TrainingStoppedError):
        second.check(31, "model", metric(11.0), 1.0, Seen())
    second.check(31, "critic", metric(11.0), 1.0, Seen())
    assert first.to_json()["model"] == [2.0, 30]


def test_null_never_finds_a_spike():
    """Where nobody wants it."""
    warm(Guard(None)).check(11, "model", metric(1e9), 1.0, Seen())


def seen(losses):
    batch, found = make_batch(len(losses)), Seen()
    found.add(batch, {"loss": torch.tensor(losses), "sigma": torch.full((len(losses),), 0.25)})
    return found


def test_samples_without_a_loss_are_named():
    """Of a batch whose loss is no number, those whose own loss is none."""
    losses = [1.0, math.nan, 2.0, math.inf]
    with pytest.raises(TrainingStoppedError) as caught:
        Guard(None).check(7, "model", metric(math.nan), math.nan, seen(losses))

    ids = make_batch(4).image_ids
    assert "step 7: the loss is nan" in str(caught.value)
    assert "own loss is no number, of 4: " in str(caught.value)
    assert ids[1] in str(caught.value)
    assert ids[3] in str(caught.value)
    assert ids[0] not in str(caught.value)
    assert [s.image_id for s in caught.value.suspects] == [ids[1], ids[3], ids[2], ids[0]]
    assert caught.value.facts()["samples"][0] == {
        "image_id": ids[1],
        "domain": "default",
        "loss": None,
        "sigma": 0.25,
        "is_finite": False,
    }


def test_a_gradient_that_is_no_number_ends_the_run_too():
    """Though every loss is one: then all images are named, the largest loss first."""
    with pytest.raises(TrainingStoppedError) as caught:
        Guard(None).check(7, "critic", metric(3.0, 2.0), math.inf, seen([1.0, 2.0]))

    ids = make_batch(2).image_ids
    assert "step 7 (critic): the loss is 1.5 and the gradient's norm inf" in str(caught.value)
    assert f"{ids[1]} (loss 2, sigma 0.250), {ids[0]}" in str(caught.value)
