"""The ring of Gaussians, and what is measured on it."""

import math

import pytest
import torch

from benchmarks.evidence import ring
from training.quality import sliced_wasserstein


def test_the_true_density_is_that_of_the_draws():
    """Its mean is the negative entropy of four distant Gaussians in two dimensions."""
    points = ring.draw(20_000, seed=0)

    found = -float(ring.true_log_likelihood(points).mean())

    entropy = math.log(4) + 1 + math.log(2 * math.pi * ring.DEVIATION**2)
    assert found == pytest.approx(entropy, abs=0.03)


def test_points_are_valid_near_modes_of_their_class():
    """Draws are valid but for their tails; in the other class, and between modes, none is."""
    points = ring.draw(5000, seed=1)
    swapped = ring.Points(points.at_N2, 1 - points.class_N)
    between = ring.Points(torch.zeros(10, 2), torch.zeros(10, dtype=torch.long))

    assert ring.validity(points) == pytest.approx(1 - math.exp(-(ring.NEAR**2) / 2), abs=0.002)
    assert ring.validity(swapped) == 0
    assert ring.validity(between) == 0
    assert ring.within_deviation(points) == pytest.approx(ring.DEVIATION, rel=0.03)


def test_distance_tells_a_shifted_cloud():
    """Two draws are near, one moved by 0.5 along x is about 0.5 * 2 / pi away."""
    one, other = ring.draw(8000, 2), ring.draw(8000, 3)

    floor = sliced_wasserstein(one.at_N2, other.at_N2)
    moved = sliced_wasserstein(one.at_N2, one.at_N2 + torch.tensor([0.5, 0.0]))

    assert floor < 0.06
    assert moved == pytest.approx(0.5 * 2 / math.pi, abs=0.03)


def test_the_net_takes_what_the_loop_gives():
    """It is a velocity model: points as latents, classes as texts, gradients to all weights."""
    points = ring.draw(8, seed=4)
    model = ring.RingModel()

    velocity = model(
        points.latent_NCHW, torch.rand(8), ring.texts_NTD(points.class_N), torch.ones(8)
    )
    velocity.square().sum().backward()

    assert velocity.shape == (8, 2, 1, 1)
    assert all(parameter.grad is not None for parameter in model.parameters())
