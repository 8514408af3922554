"""The exact density of a flow."""

import math

import pytest
import torch

from benchmarks.evidence.density import log_likelihood


def gaussian_velocity(deviation):
    """Return the velocity of the straight path from a Gaussian with these deviations to noise."""

    def model(latent, sigma, text, lens):
        share = sigma.view(-1, 1, 1, 1)
        variance = deviation.square().view(1, -1, 1, 1)
        slope = (share - (1 - share) * variance) / ((1 - share) ** 2 * variance + share**2)
        return slope * latent

    return model


@pytest.mark.parametrize("deviations", [(1.0, 1.0), (0.5, 2.0), (0.15, 0.15)])
def test_a_gaussian_has_its_own_density(deviations):
    """The velocity of a Gaussian is known, and so is the density that it must lead to."""
    deviation = torch.tensor(deviations)
    points = torch.randn(64, 2, generator=torch.Generator().manual_seed(0)) * deviation
    known = torch.distributions.Normal(torch.zeros(2), deviation).log_prob(points).sum(1)

    found = log_likelihood(
        gaussian_velocity(deviation),
        points[:, :, None, None],
        torch.zeros(64, 1, 1),
        torch.ones(64, dtype=torch.long),
    )

    assert float((found - known).abs().max()) < 0.02
    assert abs(float((found - known).mean())) < 0.005


def test_no_velocity_is_noise():
    """Where nothing moves, the density is that of the noise."""
    points = torch.tensor([[0.0, 0.0], [1.0, 2.0]])

    found = log_likelihood(
        lambda latent, sigma, text, lens: 0 * latent,
        points[:, :, None, None],
        torch.zeros(2, 1, 1),
        torch.ones(2, dtype=torch.long),
        steps=3,
    )

    expected = [-math.log(2 * math.pi), -math.log(2 * math.pi) - 2.5]
    assert found.tolist() == pytest.approx(expected)
