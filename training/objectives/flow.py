"""Flow matching: regress the velocity of the straight path from data to noise.

Shape suffixes: B batch, C latent channels, H W latent rows and columns.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from curation.config import Config
from training.data.batch import Batch
from training.model import VelocityModel
from training.objectives.base import Metric, Objective, Phase, Update

NUM_BINS = 8
"""Parts of sigma by which losses are told apart."""


class SigmaConfig(Config):
    """Which noise levels are trained.

    Attributes:
        law: `logit_normal`, or `uniform`.
        mean: Of the logit.
        deviation: Of the logit.
        shift: Moves levels towards noise, s u / (1 + (s - 1) u): larger pictures need more noise
            to lose their layout. A stage may say another one.
    """

    law: Literal["logit_normal", "uniform"] = "logit_normal"
    mean: float = 0.0
    deviation: float = Field(default=1.0, gt=0)
    shift: float = Field(default=1.0, gt=0)


class FlowConfig(Config):
    """Flow matching.

    Attributes:
        sigma: Which noise levels are trained.
        weighting: What a level counts: `none`, all alike; `bell`, the middle most; `linear`, noise
            more than data, 1 to 2.
    """

    objective: Literal["flow"] = "flow"
    sigma: SigmaConfig = SigmaConfig()
    weighting: Literal["none", "bell", "linear"] = "none"


class FlowObjective(Objective):
    """Minimise the mean squared error of the velocity, averaged over a sample's elements.

    Source: Liu et al. 2022 (arXiv 2209.03003) eq. 1 with time reversed, as Lipman et al. 2022
        (arXiv 2210.02747); levels as Esser et al. 2024 (arXiv 2403.03206), section 3.1.
    """

    def __init__(self, config: FlowConfig, model: nn.Module) -> None:
        self._config = config
        self._model = model
        self.roles: Mapping[str, nn.Module] = {"model": model}

    def next_phase(self, state: dict[str, Any]) -> Phase:
        return Phase("model")

    def update(self, phase: Phase, batch: Batch) -> Update:
        sigma_B = draw_sigma(self._config.sigma, batch)
        error_B = velocity_error(self._model, batch, sigma_B, batch.noise("noise"))
        weight_B = batch.weight_B * level_weight(self._config.weighting, sigma_B)
        loss = (weight_B * error_B).sum() / batch.num_global
        counted_B = (batch.weight_B > 0).float()
        figures = {"loss": Metric((weight_B * error_B).sum().detach(), counted_B.sum())}
        error_B = error_B.detach()
        samples = {"loss": error_B, "sigma": sigma_B}
        return Update(loss, figures | by_level(error_B, sigma_B, counted_B), samples)


def draw_sigma(config: SigmaConfig, batch: Batch) -> Tensor:
    """Return (B,) noise levels in (0, 1), fp32, on the batch's device."""
    uniform_B = batch.uniform("sigma")
    if config.law == "logit_normal":
        normal_B = torch.special.ndtri(uniform_B)
        uniform_B = torch.sigmoid(config.mean + config.deviation * normal_B)
    shift = config.shift if batch.shift is None else batch.shift
    shifted_B = shift * uniform_B / (1 + (shift - 1) * uniform_B)
    return shifted_B.float().to(batch.latent_BCHW.device)


def noised(latent_BCHW: Tensor, noise_BCHW: Tensor, sigma_B: Tensor) -> Tensor:
    """Return (1 - sigma) latent + sigma noise."""
    sigma_B111 = sigma_B.view(-1, 1, 1, 1)
    return (1 - sigma_B111) * latent_BCHW + sigma_B111 * noise_BCHW


def velocity_error(model: nn.Module, batch: Batch, sigma_B: Tensor, noise_BCHW: Tensor) -> Tensor:
    """Return (B,) mean squared errors of the velocity of a batch's latents, fp32."""
    return path_error(
        model, batch.latent_BCHW, noise_BCHW, sigma_B, batch.text_BTD, batch.text_lens_B
    )


def path_error(
    model: VelocityModel,
    latent_BCHW: Tensor,
    noise_BCHW: Tensor,
    sigma_B: Tensor,
    text_BTD: Tensor,
    text_lens_B: Tensor,
) -> Tensor:
    """Return (B,) mean squared errors of the velocity between latents and noise, fp32."""
    velocity_BCHW = model(noised(latent_BCHW, noise_BCHW, sigma_B), sigma_B, text_BTD, text_lens_B)
    error_B: Tensor = (
        (velocity_BCHW.float() - (noise_BCHW - latent_BCHW)).square().flatten(1).mean(1)
    )
    return error_B


def level_weight(weighting: str, sigma_B: Tensor) -> Tensor:
    """Return (B,) weights of noise levels, of mean 1 over uniform levels but for `linear`."""
    if weighting == "bell":
        width = 0.25
        area = width * math.sqrt(2 * math.pi) * math.erf(0.5 / (width * math.sqrt(2)))
        return torch.exp(-0.5 * ((sigma_B - 0.5) / width) ** 2) / area
    return 1 + sigma_B if weighting == "linear" else torch.ones_like(sigma_B)


def by_level(error_B: Tensor, sigma_B: Tensor, counted_B: Tensor) -> dict[str, Metric]:
    """Return the mean error in each part of sigma."""
    place_B = (sigma_B * NUM_BINS).long().clamp(0, NUM_BINS - 1)
    found = {}
    for number in range(NUM_BINS):
        mine_B = counted_B * (place_B == number)
        found[f"loss_sigma_{number / NUM_BINS:.3f}"] = Metric(
            (mine_B * error_B).sum(), mine_B.sum()
        )
    return found
