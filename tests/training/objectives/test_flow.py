"""Flow matching."""

import math

import pytest
import torch
from torch import nn

from tests.fakes.toys import make_batch
from training.objectives.base import Phase
from training.objectives.flow import (
    FlowConfig,
    FlowObjective,
    SigmaConfig,
    draw_sigma,
    level_weight,
    noised,
)


class Knowing(nn.Module):
    """Returns a fixed velocity and keeps what it was shown."""

    def __init__(self, velocity):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self._velocity = velocity

    def forward(self, latent, sigma, text, lens):
        self.shown = (latent, sigma)
        return self.scale * self._velocity


def test_the_velocity_leads_from_data_to_noise():
    """Noise - data is what must be predicted: who does has no loss, at every level."""
    batch = make_batch(16)
    noise = batch.noise("noise")
    model = Knowing(noise - batch.latent_BCHW)

    update = FlowObjective(FlowConfig(), model).update(Phase("model"), batch)

    assert float(update.loss.detach()) < 1e-12
    latent, sigma = model.shown
    assert torch.allclose(
        latent - sigma.view(-1, 1, 1, 1) * model._velocity, batch.latent_BCHW, atol=1e-5
    )


def test_the_loss_is_a_part_of_the_global_batchs():
    """Losses of parts add up to the mean over all samples, whatever the parts' sizes."""
    batch = make_batch(8, num_global=8)
    model = Knowing(torch.zeros_like(batch.latent_BCHW))
    whole = FlowObjective(FlowConfig(), model).update(Phase("model"), batch).loss

    parts = 0.0
    for part in (slice(0, 3), slice(3, 8)):
        some = make_batch(8, num_global=8, part=part)
        model = Knowing(torch.zeros_like(some.latent_BCHW))
        part_loss = FlowObjective(FlowConfig(), model).update(Phase("model"), some).loss
        parts += float(part_loss.detach())

    assert math.isclose(float(whole.detach()), parts, rel_tol=1e-6)


def test_a_sample_of_weight_0_teaches_nothing():
    """It changes no gradient and no figure."""
    batch = make_batch(6)
    batch.weight_B[2:] = 0
    model = Knowing(torch.zeros_like(batch.latent_BCHW))
    update = FlowObjective(FlowConfig(), model).update(Phase("model"), batch)

    assert float(update.metrics["loss"].weight) == 2
    counted = (batch.noise("noise") - batch.latent_BCHW)[:2].square().flatten(1).mean(1)
    assert math.isclose(float(update.loss.detach()), float(counted.sum()) / 6, rel_tol=1e-6)


def test_levels_follow_their_law():
    """Logit-normal levels have their median where mean and shift put it."""
    batch = make_batch(4000, channels=1)

    plain = draw_sigma(SigmaConfig(), batch)
    shifted = draw_sigma(SigmaConfig(shift=3.0), batch)

    assert abs(float(plain.median()) - 0.5) < 0.02
    assert abs(float(shifted.median()) - 0.75) < 0.02  # 3 * 0.5 / (1 + 2 * 0.5)
    assert abs(float(torch.logit(plain.double()).std()) - 1) < 0.05
    assert plain.dtype == torch.float32


def test_uniform_levels_are_uniform():
    """Each tenth of sigma is drawn as often."""
    found = draw_sigma(SigmaConfig(law="uniform"), make_batch(4000, channels=1))

    assert float((torch.histc(found, 10, 0, 1) - 400).abs().max()) < 80


@pytest.mark.parametrize("weighting", ["none", "bell"])
def test_weights_are_1_on_average(weighting):
    """A weighting moves attention between levels; it is no other rate."""
    levels = torch.linspace(0, 1, 10001)

    assert abs(float(level_weight(weighting, levels).mean()) - 1) < 1e-3


def test_noise_takes_the_place_of_data():
    """Sigma 0 is data, sigma 1 is noise."""
    data, noise = torch.randn(2, 3, 2, 2), torch.randn(2, 3, 2, 2)

    found = noised(data, noise, torch.tensor([0.0, 1.0]))

    assert torch.equal(found, torch.stack([data[0], noise[1]]))
