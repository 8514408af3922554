"""Preference alignment by flow matching, held in place by two anchors.

Shape suffixes: B pairs, C latent channels, H W latent rows and columns, T text tokens, D features.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import softplus

from curation.config import Config
from training.data.batch import Batch
from training.data.pairs import PairBatch
from training.model import VelocityModel
from training.objectives.base import Metric, Objective, Phase, Update
from training.objectives.flow import NUM_BINS, SigmaConfig, draw_sigma, path_error

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "anchored": {"beta": 1.0, "lambda_win": 0.35, "lambda_lose": 0.15, "reduction": "mean"},
    "ernie_literal": {"beta": 0.05, "lambda_win": 0.35, "lambda_lose": 0.15, "reduction": "mean"},
    "ernie_sum": {"beta": 0.05, "lambda_win": 0.35, "lambda_lose": 0.15, "reduction": "sum"},
    "diffusion_dpo": {"beta": 2500.0, "lambda_win": 0.0, "lambda_lose": 0.0, "reduction": "mean"},
    "auto_beta": {
        "beta": 1.0,
        "lambda_win": 0.35,
        "lambda_lose": 0.15,
        "reduction": "mean",
        "auto_beta": {},
    },
}
"""What is known by a name. docs/objectives.md says where each comes from, and how they differ."""


class AutoBetaConfig(Config):
    """Beta follows the margins, so that a stated share of the preference's gradient is left.

    Attributes:
        target: The share that a pair of usual margin keeps, sigmoid(-beta * margin).
        decay: Of the running mean of the margins' absolute values.
        least: Of beta.
        most: Of beta; also where it starts, when model and reference are the same.
    """

    target: float = Field(default=0.2, gt=0, lt=0.5)
    decay: float = Field(default=0.99, gt=0, lt=1)
    least: float = Field(default=1.0, gt=0)
    most: float = Field(default=5000.0, gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> "AutoBetaConfig":
        if self.least > self.most:
            message = f"least is {self.least:g}, above most, {self.most:g}"
            raise ValueError(message)
        return self


class DpoConfig(Config):
    """Stabilised DPO: -log sigmoid(-beta * delta) + lambda_win * e_win + lambda_lose * e_lose.

    delta is how much more the model's error grew on the winner than on the loser, against the
    reference's. The gradient is (lambda_win + beta s) of e_win and (lambda_lose - beta s) of
    e_lose, with s = sigmoid(beta * delta): with lambda_lose above beta losers are never pushed
    away, and without anchors they are pushed without end.

    Attributes:
        preset: Where the four numbers come from; what stands beside it overrides it.
        beta: How hard a preference is enforced.
        lambda_win: Of the anchor that holds the winner's error down.
        lambda_lose: Of the anchor that keeps the loser's error from growing without end.
        reduction: Whether errors within delta are the `mean` over a latent's elements, or their
            `sum`; anchors are means in either case. The report does not say which it means, and
            between them lies the number of elements.
        auto_beta: Adapt beta to the margins; null to keep it.
        sigma: Which noise levels are trained.
        max_win_ratio: The run stops when the error on held-out winners, over the reference's,
            passes this; null for never.
        max_lose_ratio: Likewise of losers.
    """

    objective: Literal["dpo"] = "dpo"
    preset: Literal["anchored", "ernie_literal", "ernie_sum", "diffusion_dpo", "auto_beta"] = (
        "anchored"
    )
    beta: float = Field(default=0.0, ge=0)
    lambda_win: float = Field(default=0.0, ge=0)
    lambda_lose: float = Field(default=0.0, ge=0)
    reduction: Literal["mean", "sum"] = "mean"
    auto_beta: AutoBetaConfig | None = None
    sigma: SigmaConfig = SigmaConfig()
    max_win_ratio: float | None = Field(default=1.05, gt=1)
    max_lose_ratio: float | None = Field(default=2.0, gt=1)

    @model_validator(mode="before")
    @classmethod
    def _of_preset(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("preset", "anchored") in PRESETS:
            return {**PRESETS[value.get("preset", "anchored")], **value}
        return value


class Reference(ABC):
    """What the errors of a model are compared to."""

    @abstractmethod
    def errors(self, batch: PairBatch, sigma_B: Tensor, noise_BCHW: Tensor) -> Tensor:
        """Return (B, 2) errors of winner and loser, fp32 means over elements, without gradient."""


class FrozenReference(Reference):
    """A model that stays as it is."""

    def __init__(self, model: VelocityModel) -> None:
        self._model = model

    @torch.no_grad()
    def errors(self, batch: PairBatch, sigma_B: Tensor, noise_BCHW: Tensor) -> Tensor:
        return pair_errors(self._model, batch, sigma_B, noise_BCHW)


class PrecomputedReference(Reference):
    """Errors that came with the batch."""

    def errors(self, batch: PairBatch, sigma_B: Tensor, noise_BCHW: Tensor) -> Tensor:
        assert batch.reference_B2 is not None, "the source gives no precomputed errors"
        return batch.reference_B2


class DpoObjective(Objective):
    """Prefer winners to losers without forgetting how either is drawn.

    One noise and one level are shared by the two pictures of a pair.

    Source: Wallace et al. 2023 (arXiv 2311.12908) eq. 14 with the velocity's error in place of the
        noise's; the anchors are the ERNIE-Image report's (arXiv 2605.25347), section 2.2.2.
    """

    observed: ClassVar[tuple[str, ...]] = ("absolute_margin",)

    def __init__(self, config: DpoConfig, model: nn.Module, reference: Reference) -> None:
        self._config = config
        self._model = model
        self._reference = reference
        self.roles: Mapping[str, nn.Module] = {"model": model}

    def next_phase(self, state: dict[str, Any]) -> Phase:
        return Phase("model", values={"beta": self._beta(state)})

    def update(self, phase: Phase, batch: Batch) -> Update:
        assert isinstance(batch, PairBatch), "preferences are learnt from pairs"
        config, beta = self._config, phase.values["beta"]
        sigma_B, noise_BCHW = draw_sigma(config.sigma, batch), batch.noise("noise")
        error_B2 = pair_errors(self._model, batch, sigma_B, noise_BCHW)
        reference_B2 = self._reference.errors(batch, sigma_B, noise_BCHW)
        scale = batch.latent_BCHW[0].numel() if config.reduction == "sum" else 1
        delta_B = scale * (
            (error_B2[:, 0] - error_B2[:, 1]) - (reference_B2[:, 0] - reference_B2[:, 1])
        )
        preference_B = softplus(beta * delta_B)  # = -log sigmoid(-beta delta)
        anchors_B = config.lambda_win * error_B2[:, 0] + config.lambda_lose * error_B2[:, 1]
        loss_B = preference_B + anchors_B
        loss = (batch.weight_B * loss_B).sum() / batch.num_global
        counted_B = (batch.weight_B > 0).float()
        figures = _figures(config, beta, scale, delta_B, error_B2, reference_B2, counted_B)
        figures["loss"] = _mean(loss_B.detach(), counted_B)
        figures["preference_loss"] = _mean(preference_B.detach(), counted_B)
        return Update(loss, figures, _margins(-delta_B.detach(), sigma_B, counted_B > 0))

    def observe(self, state: dict[str, Any], means: Mapping[str, float]) -> None:
        auto = self._config.auto_beta
        if auto is not None:
            before = state.get("usual_margin")
            now = means["absolute_margin"]
            state["usual_margin"] = (
                now if before is None else auto.decay * before + (1 - auto.decay) * now
            )

    def complaint(self, held_out: Mapping[str, float]) -> str | None:
        limits = (
            ("winners", "win_ratio", self._config.max_win_ratio),
            ("losers", "lose_ratio", self._config.max_lose_ratio),
        )
        for who, name, most in limits:
            if most is not None and held_out.get(name, 0.0) > most:
                return (
                    f"the error on held-out {who} is {held_out[name]:.3f} times the reference's, "
                    f"more than objective.max_{name}, {most:g}: the model is losing them. "
                    "Take an earlier checkpoint, a lower rate, or stronger anchors"
                )
        return None

    def _beta(self, state: Mapping[str, Any]) -> float:
        auto = self._config.auto_beta
        if auto is None:
            return self._config.beta
        usual = state.get("usual_margin") or 0.0
        if usual == 0.0:
            return auto.most
        return min(max(math.log(1 / auto.target - 1) / usual, auto.least), auto.most)


def pair_errors(
    model: VelocityModel, batch: PairBatch, sigma_B: Tensor, noise_BCHW: Tensor
) -> Tensor:
    """Return (B, 2) mean squared errors of the velocity of winners and losers, fp32."""
    both_BCHW = torch.cat([batch.latent_BCHW, batch.loser_BCHW])
    error_B = path_error(
        model,
        both_BCHW,
        noise_BCHW.repeat(2, 1, 1, 1),
        sigma_B.repeat(2),
        batch.text_BTD.repeat(2, 1, 1),
        batch.text_lens_B.repeat(2),
    )
    return error_B.view(2, len(batch)).T


def _figures(
    config: DpoConfig,
    beta: float,
    scale: int,
    delta_B: Tensor,
    error_B2: Tensor,
    reference_B2: Tensor,
    counted_B: Tensor,
) -> dict[str, Metric]:
    """Return what tells a preference that is learnt from a model that collapses.

    `loser_coefficient` is what the gradient of a loser's mean error is multiplied by: below 0,
    losers are pushed away.
    """
    delta_B, error_B2 = delta_B.detach(), error_B2.detach()
    s_B = torch.sigmoid(beta * delta_B)
    return {
        "beta": _mean(torch.full_like(s_B, beta), counted_B),
        "s": _mean(s_B, counted_B),
        "beta_s": _mean(beta * s_B, counted_B),
        "loser_coefficient": _mean(config.lambda_lose - scale * beta * s_B, counted_B),
        "win_error": _mean(error_B2[:, 0], counted_B),
        "lose_error": _mean(error_B2[:, 1], counted_B),
        "win_ratio": Metric(
            (counted_B * error_B2[:, 0]).sum(), (counted_B * reference_B2[:, 0]).sum()
        ),
        "lose_ratio": Metric(
            (counted_B * error_B2[:, 1]).sum(), (counted_B * reference_B2[:, 1]).sum()
        ),
        "implicit_accuracy": _mean((delta_B < 0).float(), counted_B),
        "absolute_margin": _mean(delta_B.abs(), counted_B),
    }


def _mean(value_B: Tensor, counted_B: Tensor) -> Metric:
    return Metric((counted_B * value_B).sum(), counted_B.sum())


def _margins(margin_B: Tensor, sigma_B: Tensor, is_counted_B: Tensor) -> dict[str, Tensor]:
    """Return the margins of pairs that count, all of them and by part of sigma."""
    place_B = (sigma_B * NUM_BINS).long().clamp(0, NUM_BINS - 1)
    found = {"margin": margin_B[is_counted_B]}
    for number in range(NUM_BINS):
        name = f"margin_sigma_{number / NUM_BINS:.3f}"
        found[name] = margin_B[is_counted_B & (place_B == number)]
    return found
