"""A two-dimensional toy of which everything is known: eight Gaussians on a ring, two classes.

Shape suffixes: N points, B batch, T text tokens, D features, K modes.

A point is a latent of 2 channels and one pixel, its class one text token. So the trainer's own
loop, objective, source and sampler run on it unchanged.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

NUM_MODES = 8
NUM_CLASSES = 2
RADIUS = 2.0
DEVIATION = 0.15
NEAR = 3.5
"""A point is valid within this many deviations of a mode of its class."""

NULL_1D = torch.eye(NUM_CLASSES + 1)[NUM_CLASSES:]
"""Features of no class."""


@dataclass(frozen=True)
class Points:
    """Points and their classes.

    Attributes:
        at_N2: Where they are.
        class_N: 0 or 1: even or odd modes.
    """

    at_N2: Tensor
    class_N: Tensor

    def __len__(self) -> int:
        return len(self.class_N)

    @property
    def latent_NCHW(self) -> Tensor:
        """The points as latents (N, 2, 1, 1)."""
        return self.at_N2[:, :, None, None]


def centers_K2() -> Tensor:
    """Return the middle of each mode; mode k is of class k % 2."""
    angle_K = torch.arange(NUM_MODES) * (2 * math.pi / NUM_MODES)
    return RADIUS * torch.stack([angle_K.cos(), angle_K.sin()], 1)


def draw(count: int, seed: int) -> Points:
    """Draw points from the ring."""
    generator = torch.Generator().manual_seed(seed)
    mode_N = torch.randint(0, NUM_MODES, (count,), generator=generator)
    noise_N2 = torch.randn(count, 2, generator=generator)
    return Points(centers_K2()[mode_N] + DEVIATION * noise_N2, mode_N % NUM_CLASSES)


def texts_NTD(class_N: Tensor) -> Tensor:
    """Return the class of each point as one token."""
    return torch.eye(NUM_CLASSES + 1)[class_N][:, None]


def true_log_likelihood(points: Points) -> Tensor:
    """Return (N,) log densities in nats of points given their class."""
    distance_NK = _deviations_NK(points)
    of_class_NK = _is_of_class_NK(points)
    each_NK = -0.5 * distance_NK.double().square() - math.log(2 * math.pi * DEVIATION**2)
    each_NK = each_NK.masked_fill(~of_class_NK, -math.inf)
    return torch.logsumexp(each_NK, 1) - math.log(NUM_MODES // NUM_CLASSES)


def validity(points: Points) -> float:
    """Return the share of points near a mode of their class."""
    distance_NK = _deviations_NK(points).masked_fill(~_is_of_class_NK(points), math.inf)
    return float((distance_NK.min(1).values <= NEAR).float().mean())


def within_deviation(points: Points) -> float:
    """Return the deviation of points around the nearest mode of their class, in one coordinate."""
    distance_NK = _deviations_NK(points).masked_fill(~_is_of_class_NK(points), math.inf)
    nearest_N = distance_NK.min(1).values
    kept_N = nearest_N[nearest_N <= NEAR] * DEVIATION
    return float((kept_N.square().mean() / 2).sqrt())


def _deviations_NK(points: Points) -> Tensor:
    """Return the distance of each point to each mode, in deviations."""
    return torch.cdist(points.at_N2, centers_K2()) / DEVIATION


def _is_of_class_NK(points: Points) -> Tensor:
    return points.class_N[:, None] == torch.arange(NUM_MODES)[None] % NUM_CLASSES


class RingModel(nn.Module):
    """A small net as a `VelocityModel`: three hidden layers of 128.

    It sees the point, the class's token, and sigma with four of its sines and cosines.
    """

    WIDTH = 128
    WAVES = 4

    def __init__(self) -> None:
        super().__init__()
        width = self.WIDTH
        self.layers = nn.Sequential(
            nn.Linear(2 + NUM_CLASSES + 1 + 1 + 2 * self.WAVES, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, 2),
        )

    def forward(
        self, latent_BCHW: Tensor, sigma_B: Tensor, text_BTD: Tensor, text_lens_B: Tensor
    ) -> Tensor:
        """Return the velocity; see `VelocityModel`."""
        waves_B4 = sigma_B[:, None] * math.pi * torch.arange(1, self.WAVES + 1)
        seen = [latent_BCHW.flatten(1), text_BTD[:, 0], sigma_B[:, None]]
        velocity_B2: Tensor = self.layers(torch.cat([*seen, waves_B4.sin(), waves_B4.cos()], 1))
        return velocity_B2[:, :, None, None]
