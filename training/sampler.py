"""Pictures from noise: Euler steps along the learnt velocity.

Shape suffixes: B batch, C latent channels, H W latent rows and columns, T text tokens, D features.
"""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from training.model import VelocityModel

DEFAULT_SHIFT = 3.0
"""Of the released pipelines' schedule; one source says 4.0 for the base model, unresolved."""


def sigmas(num_steps: int, shift: float) -> list[float]:
    """Return the noise levels from 1 down to 0, `num_steps` + 1 of them.

    Source: diffusers' `FlowMatchEulerDiscreteScheduler` with a static shift, which ERNIE-Image's
        pipeline hands levels from 1 down in even steps.
    """
    even = [1 - step / num_steps for step in range(num_steps + 1)]
    return [shift * u / (1 + (shift - 1) * u) for u in even]


@torch.no_grad()
def sample(
    model: VelocityModel,
    noise_BCHW: Tensor,
    text_BTD: Tensor,
    text_lens_B: Tensor,
    null_TD: Tensor,
    *,
    levels: Sequence[float],
    guidance: float = 1.0,
) -> Tensor:
    """Return latents (B, C, H, W).

    Args:
        model: Predicts velocities.
        noise_BCHW: Where the path starts.
        text_BTD: Padded features of the prompts.
        text_lens_B: Their tokens.
        null_TD: Features of the empty text.
        levels: From `sigmas`.
        guidance: 1 for none; above, velocity = null + guidance (prompt - null).

    Source: Ho & Salimans 2022 (arXiv 2207.12598) for the guidance.
    """
    latent_BCHW = noise_BCHW
    batch = len(noise_BCHW)
    null_BTD = null_TD.expand(batch, -1, -1)
    null_lens_B = torch.full((batch,), len(null_TD), device=noise_BCHW.device)
    for now, then in itertools.pairwise(levels):
        sigma_B = torch.full((batch,), now, device=noise_BCHW.device)
        velocity_BCHW = model(latent_BCHW, sigma_B, text_BTD, text_lens_B)
        if guidance != 1.0:
            without_BCHW = model(latent_BCHW, sigma_B, null_BTD, null_lens_B)
            velocity_BCHW = without_BCHW + guidance * (velocity_BCHW - without_BCHW)
        latent_BCHW = latent_BCHW + (then - now) * velocity_BCHW
    return latent_BCHW
