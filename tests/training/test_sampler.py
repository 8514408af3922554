"""Sampling."""

import pytest
import torch

from training.sampler import sample, sigmas


def test_levels_are_those_of_diffusers():
    """The static shift of the released schedule; eight steps are the eight of Turbo."""
    import diffusers

    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=False)
    scheduler.set_timesteps(sigmas=torch.linspace(1, 0, 51)[:-1].tolist())

    assert sigmas(50, 3.0) == pytest.approx(scheduler.sigmas.tolist(), abs=1e-6)
    turbo = [1.0, 0.9545, 0.9, 0.8333, 0.75, 0.6429, 0.5, 0.3, 0.0]
    assert sigmas(8, 3.0) == pytest.approx(turbo, abs=1e-4)


def test_the_exact_velocity_of_one_picture_leads_to_it():
    """With one picture in the world, (x - picture) / sigma leads there in any number of steps."""
    picture = torch.randn(1, 3, 4, 4)

    def model(latent, sigma, text, lens):
        return (latent - picture) / sigma.view(-1, 1, 1, 1)

    noise = torch.randn(5, 3, 4, 4)
    for steps in (1, 7):
        found = sample(
            model, noise, torch.zeros(5, 1, 2), torch.ones(5), torch.zeros(1, 2),
            levels=sigmas(steps, 3.0),
        )  # fmt: skip
        assert torch.allclose(found, picture.expand(5, -1, -1, -1), atol=1e-5)


def test_guidance_goes_beyond_the_prompt():
    """Null + g (prompt - null), asked of the empty text's own features."""
    seen = []

    def model(latent, sigma, text, lens):
        seen.append((text.clone(), lens.clone()))
        return text[:, :1, :1, None].expand_as(latent)

    text, null = torch.full((2, 3, 1), 2.0), torch.full((1, 1), 0.5)
    found = sample(
        model, torch.zeros(2, 1, 2, 2), text, torch.tensor([3, 2]), null,
        levels=[1.0, 0.0], guidance=4.0,
    )  # fmt: skip

    assert torch.allclose(found, torch.full_like(found, -(0.5 + 4 * (2.0 - 0.5))))
    assert seen[1][0].shape == (2, 1, 1)
    assert seen[1][1].tolist() == [1, 1]
