"""The exact density of what a velocity model makes, in few dimensions.

Shape suffixes: N points, B batch, C channels (dimensions of a point), H W both 1.
"""

import math

import torch
from torch import Tensor

from training.model import VelocityModel


def log_likelihood(
    model: VelocityModel,
    latent_NCHW: Tensor,
    text_NTD: Tensor,
    text_lens_N: Tensor,
    *,
    steps: int = 100,
) -> Tensor:
    """Return (N,) log densities in nats of points under the model's path from noise.

    The probability flow is integrated from data to noise with Heun's method in even steps of sigma,
    and with it the velocity's divergence, whose trace is computed exactly: a backward pass for each
    dimension.

    Source: Chen et al. 2018 (arXiv 1806.07366) eq. 8: d log p / d sigma = -div velocity.
    """
    point = latent_NCHW
    gained = torch.zeros(len(point), dtype=torch.float64)
    for step in range(steps):
        now, then = step / steps, (step + 1) / steps
        velocity, divergence = _flow(model, point, now, text_NTD, text_lens_N)
        ahead = point + (then - now) * velocity
        velocity_ahead, divergence_ahead = _flow(model, ahead, then, text_NTD, text_lens_N)
        point = point + (then - now) / 2 * (velocity + velocity_ahead)
        gained += (then - now) / 2 * (divergence + divergence_ahead).double()
    flat = point.flatten(1).double()
    noise = -0.5 * flat.square().sum(1) - flat.shape[1] / 2 * math.log(2 * math.pi)
    return noise + gained


def _flow(
    model: VelocityModel, point_BCHW: Tensor, sigma: float, text_BTD: Tensor, text_lens_B: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the velocity and its divergence (B,) at one level."""
    with torch.enable_grad():
        point = point_BCHW.detach().requires_grad_()
        sigma_B = torch.full((len(point),), sigma)
        velocity = model(point, sigma_B, text_BTD, text_lens_B)
        outputs = velocity.flatten(1)
        divergence = torch.zeros(len(point))
        for dimension in range(outputs.shape[1]):
            (slope,) = torch.autograd.grad(
                outputs[:, dimension].sum(), point, retain_graph=dimension + 1 < outputs.shape[1]
            )
            divergence = divergence + slope.flatten(1)[:, dimension]
    return velocity.detach(), divergence.detach()
