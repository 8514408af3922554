"""Distillation to a few steps by matching distributions, from one teacher or several.

Shape suffixes: B batch, C latent channels, H W latent rows and columns.
"""

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from curation.config import Config
from training.data.batch import Batch
from training.objectives.base import Metric, Objective, Phase, Update
from training.objectives.committee import Committee, GateConfig, clean_latents
from training.objectives.flow import by_level, noised, path_error
from training.sampler import sigmas

CRITIC, STUDENT = "critic", "model"
"""Roles. The student is what is evaluated, drawn with and handed on, as other objectives' model."""

_EPS = 1e-6


class TeacherConfig(Config):
    """An expert.

    Attributes:
        name: How the recipe and the tables call it.
        checkpoint: A run of ours, a step of it, or a folder that diffusers loads.
        adapter: A folder that peft wrote, to be put on it.
        weights: Of a run of ours, the averaged weights or the last ones.
    """

    name: str = Field(pattern=r"[a-z0-9_]+")
    checkpoint: str
    adapter: str | None = None
    weights: Literal["ema", "model"] = "ema"


class DmdConfig(Config):
    """Decoupled DMD with a committee of teachers.

    Attributes:
        steps: Network evaluations of the student.
        shift: Of the student's schedule; 8 steps of shift 3 are those of ERNIE-Image-Turbo.
        guidance: Of the teachers, as classifier-free guidance is commonly counted: 1 for none.
            DMD2 counts one less.
        ratio: Updates of the critic for one of the student.
        tau: Range of the levels at which distributions are compared, and the critic is trained.
        coupled: Compare and guide at one level with one noise, as DMD2 does.
        normaliser: Whether both terms are divided by the `shared` distance of the student's
            pictures to the guided teacher's, or each by its own, `per_branch`.
        resample: How the student's own steps are simulated: `renoise` with fresh noise after each,
            as DMD2; or `euler`, as the released pipelines draw.
        alignment: After each of the student's updates the critic keeps this share of itself and
            takes the rest from the student; null for not at all.
        teachers: The experts.
        gate: Who of them counts where.
    """

    objective: Literal["dmd"] = "dmd"
    steps: int = Field(default=8, ge=1, le=64)
    shift: float = Field(default=3.0, gt=0)
    guidance: float = Field(default=4.0, ge=1)
    ratio: int = Field(default=5, ge=1)
    tau: tuple[float, float] = (0.02, 0.98)
    coupled: bool = False
    normaliser: Literal["shared", "per_branch"] = "shared"
    resample: Literal["renoise", "euler"] = "renoise"
    alignment: float | None = Field(default=None, ge=0, lt=1)
    teachers: tuple[TeacherConfig, ...] = Field(min_length=1)
    gate: GateConfig = GateConfig()

    @model_validator(mode="after")
    def _fits(self) -> "DmdConfig":
        low, high = self.tau
        if not 0 < low < high < 1:
            message = f"tau {list(self.tau)}: expected two rising numbers between 0 and 1"
            raise ValueError(message)
        if (last := self.levels[-1]) <= low:
            message = (
                f"the student's last level is {last:.4f}, not above tau's lower end, {low:g}: take "
                "fewer steps, a larger shift, or a lower tau"
            )
            raise ValueError(message)
        names = [teacher.name for teacher in self.teachers]
        if len(set(names)) < len(names):
            message = f"teachers: {', '.join(names)}: each needs a name of its own"
            raise ValueError(message)
        if wrong := self.gate.check(len(self.teachers)):
            raise ValueError("; ".join(wrong))
        return self

    @property
    def levels(self) -> list[float]:
        """The levels that the student is asked at, from 1 down."""
        return sigmas(self.steps, self.shift)[:-1]


@dataclass(frozen=True)
class Direction:
    """Where a student's pictures shall move.

    Attributes:
        dm_BCHW: What the critic takes them to be, less what the teachers do: away from where the
            student's pictures are too many.
        ca_BCHW: What the text adds, by the teachers, times guidance - 1; nothing without guidance.
        scale_B: By which the first is divided.
        ca_scale_B: By which the second is divided.
    """

    dm_BCHW: Tensor
    ca_BCHW: Tensor
    scale_B: Tensor
    ca_scale_B: Tensor

    def gradient(self) -> Tensor:
        """Return (B, C, H, W), what the pictures move against."""
        dm_BCHW = self.dm_BCHW / self.scale_B.view(-1, 1, 1, 1)
        return dm_BCHW - self.ca_BCHW / self.ca_scale_B.view(-1, 1, 1, 1)


class DmdObjective(Objective):
    """Train a student of few steps whose pictures are distributed as its teachers'.

    Two roles take turns. The critic learns the velocity of the student's own pictures, by flow
    matching. The student's pictures y move along the difference of the critic's and the teachers'
    denoised ones, L = mean((y - sg(y - w D))^2) / 2 with

        D = [critic - teacher](tau_dm) - (guidance - 1) [teacher - teacher without text](tau_ca)

    where tau_ca is cleaner than the student's own level. The student is trained at one of its
    levels, which it reaches by its own steps.

    Source: Yin et al. 2024 (arXiv 2405.14867), section 4 for the two time-scales and simulation;
        Decoupled DMD (arXiv 2511.22677) for the two terms; the ERNIE-Image report (arXiv
        2605.25347), section 2.2.3 for the committee; SenseFlow (arXiv 2506.00523) for the
        alignment. docs/objectives.md says what these leave open and how it was decided.
    """

    def __init__(
        self,
        config: DmdConfig,
        student: nn.Module,
        critic: nn.Module,
        committee: Committee,
        seed: int,
    ) -> None:
        self._config = config
        self._student = student
        self._critic = critic
        self._committee = committee
        self._seed = seed
        self._levels = config.levels
        self.roles: Mapping[str, nn.Module] = {CRITIC: critic, STUDENT: student}

    def next_phase(self, state: dict[str, Any]) -> Phase:
        number = state.get("updates", 0)
        state["updates"] = number + 1
        is_students = number % (self._config.ratio + 1) == self._config.ratio
        depth = draw_depth(self._seed, number, len(self._levels))
        return Phase(STUDENT if is_students else CRITIC, values={"depth": depth})

    def update(self, phase: Phase, batch: Batch) -> Update:
        depth = int(phase.values["depth"])
        if phase.role == CRITIC:
            with torch.no_grad():
                clean_BCHW = self.draw(batch, depth)
            return self._update_critic(batch, clean_BCHW)
        clean_BCHW = self.draw(batch, depth)
        direction = self.direction(batch, clean_BCHW.detach(), self._levels[depth])
        gradient_BCHW = direction.gradient()
        target_BCHW = clean_BCHW.detach() - gradient_BCHW
        error_B = (clean_BCHW - target_BCHW).square().flatten(1).mean(1) / 2
        loss = (batch.weight_B * error_B).sum() / batch.num_global
        counted_B = (batch.weight_B > 0).float()
        figures = {
            "loss": error_B.detach(),
            "dm": direction.dm_BCHW.abs().flatten(1).mean(1),
            "ca": direction.ca_BCHW.abs().flatten(1).mean(1),
            "scale": direction.scale_B,
        }
        return Update(
            loss, {n: Metric((counted_B * v).sum(), counted_B.sum()) for n, v in figures.items()}
        )

    def stepped(self, phase: Phase) -> None:
        kept = self._config.alignment
        if kept is not None and phase.role == STUDENT:
            with torch.no_grad():
                pairs = zip(self._critic.parameters(), self._student.parameters(), strict=True)
                for mine, students in pairs:
                    mine.lerp_(students, 1 - kept)

    def draw(self, batch: Batch, depth: int) -> Tensor:
        """Return the student's pictures (B, C, H, W) at its level number `depth`.

        It gets there by its own steps; only the last evaluation has a gradient.
        """
        latent_BCHW = batch.noise("student")
        for number, level in enumerate(self._levels[:depth]):
            sigma_B = batch.sigmas(level)
            with torch.no_grad():
                velocity_BCHW = self._student(
                    latent_BCHW, sigma_B, batch.text_BTD, batch.text_lens_B
                ).float()
            following = self._levels[number + 1]
            if self._config.resample == "euler":
                latent_BCHW = latent_BCHW + (following - level) * velocity_BCHW
            else:
                clean_BCHW = latent_BCHW - level * velocity_BCHW
                fresh_BCHW = batch.noise(f"renoise {number}")
                latent_BCHW = noised(clean_BCHW, fresh_BCHW, batch.sigmas(following))
        return clean_latents(
            self._student,
            latent_BCHW,
            batch.sigmas(self._levels[depth]),
            batch.text_BTD,
            batch.text_lens_B,
        )

    @torch.no_grad()
    def direction(self, batch: Batch, clean_BCHW: Tensor, level: float) -> Direction:
        """Return where the student's pictures shall move.

        Args:
            batch: Whose texts, domains and draws they have.
            clean_BCHW: The pictures.
            level: The student's level.
        """
        config = self._config
        low, high = config.tau
        text = (batch.text_BTD, batch.text_lens_B)
        dm_tau_B = batch.span("tau dm", low, high)
        dm_noised_BCHW = noised(clean_BCHW, batch.noise("noise dm"), dm_tau_B)
        (real_BCHW,) = self._committee.clean("dm", dm_noised_BCHW, dm_tau_B, batch.domains, [text])
        fake_BCHW = clean_latents(self._critic, dm_noised_BCHW, dm_tau_B, *text)
        added_BCHW = guided_BCHW = torch.zeros_like(clean_BCHW)
        if config.guidance > 1:
            ca_tau_B, ca_noised_BCHW = dm_tau_B, dm_noised_BCHW
            if not config.coupled:
                ca_tau_B = batch.span("tau ca", low, level)
                ca_noised_BCHW = noised(clean_BCHW, batch.noise("noise ca"), ca_tau_B)
            with_BCHW, without_BCHW = self._committee.clean(
                "ca", ca_noised_BCHW, ca_tau_B, batch.domains, [text, batch.null()]
            )
            added_BCHW = (config.guidance - 1) * (with_BCHW - without_BCHW)
            guided_BCHW = with_BCHW + added_BCHW
        shared_B = _distance(clean_BCHW, real_BCHW + added_BCHW)
        if config.normaliser == "shared":
            return Direction(fake_BCHW - real_BCHW, added_BCHW, shared_B, shared_B)
        own_B = _distance(clean_BCHW, real_BCHW)
        return Direction(
            fake_BCHW - real_BCHW, added_BCHW, own_B, _distance(clean_BCHW, guided_BCHW)
        )

    def _update_critic(self, batch: Batch, clean_BCHW: Tensor) -> Update:
        """Return the flow-matching loss of the critic on the student's pictures."""
        tau_B = batch.span("tau critic", *self._config.tau)
        error_B = path_error(
            self._critic,
            clean_BCHW,
            batch.noise("noise critic"),
            tau_B,
            batch.text_BTD,
            batch.text_lens_B,
        )
        loss = (batch.weight_B * error_B).sum() / batch.num_global
        counted_B = (batch.weight_B > 0).float()
        figures = {"loss": Metric((counted_B * error_B.detach()).sum(), counted_B.sum())}
        return Update(loss, figures | by_level(error_B.detach(), tau_B, counted_B))


def draw_depth(seed: int, number: int, num_levels: int) -> int:
    """Return which of the student's levels an update is made at, the same on every rank.

    Source: keyed BLAKE2b (RFC 7693).
    """
    data = hashlib.blake2b(struct.pack("<q", number), digest_size=8, key=struct.pack("<q", seed))
    return int.from_bytes(data.digest(), "little") * num_levels >> 64


def _distance(first_BCHW: Tensor, second_BCHW: Tensor) -> Tensor:
    """Return (B,) mean absolute differences, never 0, fp32."""
    return (first_BCHW - second_BCHW).float().abs().flatten(1).mean(1) + _EPS
