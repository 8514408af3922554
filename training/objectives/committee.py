"""Several teachers that answer as one: who is asked depends on noise level, domain and term.

Shape suffixes: B batch, C latent channels, H W latent rows and columns, T text tokens, D features,
K teachers, N conditions.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.distributed as dist
from pydantic import field_validator, model_validator
from torch import Tensor
from torch.nn.functional import pad

from curation.config import Config
from training.model import VelocityModel
from training.ranks import world_size

Term = Literal["ca", "dm"]
"""What a teacher is asked for: to augment by guidance, or to match distributions."""

DEFAULT = "default"
_TOLERANCE = 1e-6


class DomainGateConfig(Config):
    """The weights of the teachers for one domain.

    Attributes:
        both: For each part of tau the teachers' weights, which add up to 1, for both terms.
        ca: Of guidance augmentation, where it differs.
        dm: Of distribution matching, where it differs.
    """

    both: tuple[tuple[float, ...], ...] | None = None
    ca: tuple[tuple[float, ...], ...] | None = None
    dm: tuple[tuple[float, ...], ...] | None = None

    @field_validator("both", "ca", "dm")
    @classmethod
    def _sums(
        cls, rows: tuple[tuple[float, ...], ...] | None
    ) -> tuple[tuple[float, ...], ...] | None:
        for number, row in enumerate(rows or ()):
            if any(not 0 <= weight <= 1 for weight in row):
                message = f"row {number}, {list(row)}: each weight must be from 0 to 1"
                raise ValueError(message)
            if abs(math.fsum(row) - 1) > _TOLERANCE:
                message = f"row {number}, {list(row)}: adds up to {math.fsum(row):g}, expected 1"
                raise ValueError(message)
        return rows

    @model_validator(mode="after")
    def _whole(self) -> "DomainGateConfig":
        if self.both is None and (self.ca is None or self.dm is None):
            message = "state `both`, or `ca` and `dm`"
            raise ValueError(message)
        return self

    def rows(self, term: Term) -> tuple[tuple[float, ...], ...]:
        """Return the rows of a term."""
        own = self.ca if term == "ca" else self.dm
        rows = self.both if own is None else own
        assert rows is not None
        return rows


class GateConfig(Config):
    """A table that says how much each teacher counts.

    Attributes:
        edges: Where the parts of tau begin and end, from 0 to 1.
        domains: Domain -> weights; `default` is that of every domain that is not named.
    """

    edges: tuple[float, ...] = (0.0, 1.0)
    domains: dict[str, DomainGateConfig] = {
        DEFAULT: DomainGateConfig(both=((1.0,),)),
    }

    @field_validator("edges")
    @classmethod
    def _rising(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        rises = all(low < high for low, high in itertools.pairwise(edges))
        if len(edges) < 2 or edges[0] != 0 or edges[-1] != 1 or not rises:
            message = f"{list(edges)}: expected numbers that rise from 0 to 1"
            raise ValueError(message)
        return edges

    @model_validator(mode="after")
    def _default(self) -> "GateConfig":
        if DEFAULT not in self.domains:
            message = "domains: `default` is missing, for images of no named domain"
            raise ValueError(message)
        return self

    def check(self, num_teachers: int) -> list[str]:
        """Return what does not fit so many teachers, a sentence each."""
        parts = len(self.edges) - 1
        found = []
        for domain, config in self.domains.items():
            for term in ("ca", "dm"):
                rows = config.rows(term)
                if len(rows) != parts:
                    found.append(
                        f"gate.domains.{domain}.{term}: {len(rows)} rows for {parts} parts of tau"
                    )
                found += [
                    f"gate.domains.{domain}.{term}[{number}]: {len(row)} weights for "
                    f"{num_teachers} teachers"
                    for number, row in enumerate(rows)
                    if len(row) != num_teachers
                ]
        return found


class Gate:
    """The table, ready to be asked.

    Args:
        config: A table that `check` had nothing against.
    """

    def __init__(self, config: GateConfig) -> None:
        self._inner_edges = torch.tensor(config.edges[1:-1], dtype=torch.float32)
        self._rows: dict[tuple[str, Term], Tensor] = {
            (domain, term): torch.tensor(rows.rows(term), dtype=torch.float32)
            for domain, rows in config.domains.items()
            for term in ("ca", "dm")
        }

    def weights(self, term: Term, tau_B: Tensor, domains: Sequence[str]) -> Tensor:
        """Return (B, K) weights, fp32, on the device of `tau_B`.

        Args:
            term: Which of the two.
            tau_B: The level of that term's branch.
            domains: Of each sample.
        """
        place_B = torch.bucketize(tau_B.float().cpu(), self._inner_edges, right=True).tolist()
        rows = [
            self._rows.get((domain, term), self._rows[DEFAULT, term])[place]
            for domain, place in zip(domains, place_B, strict=True)
        ]
        return torch.stack(rows).to(tau_B.device)


class Committee:
    """Teachers behind a gate.

    A sample costs one forward for each teacher that its row names, conditions together; teachers
    that nobody asks for are not called. With several ranks all of them call the same teachers, or
    those that shard their weights would wait for each other.

    Args:
        teachers: Name -> model, in the order of the gate's weights.
        gate: Who counts how much.
    """

    def __init__(self, teachers: Mapping[str, VelocityModel], gate: Gate) -> None:
        self.teachers = dict(teachers)
        self._gate = gate

    @torch.no_grad()
    def clean(
        self,
        term: Term,
        noised_BCHW: Tensor,
        tau_B: Tensor,
        domains: Sequence[str],
        conditions: Sequence[tuple[Tensor, Tensor]],
    ) -> Tensor:
        """Return what the committee takes the clean latents to be, (N, B, C, H, W), fp32.

        Args:
            term: What they are asked for.
            noised_BCHW: (1 - tau) clean + tau noise.
            tau_B: Noise levels.
            domains: Of each sample; with the level it decides who is asked, whatever the text.
            conditions: Padded features (B, T, D) and lengths (B,) of the texts.
        """
        weights_BK = self._gate.weights(term, tau_B, domains)
        is_asked_K = over_ranks((weights_BK > 0).any(0))
        text_NBTD, lens_NB = _stacked(conditions)
        count = len(conditions)
        found_NBCHW = torch.zeros(count, *noised_BCHW.shape, device=noised_BCHW.device)
        for number, teacher in enumerate(self.teachers.values()):
            if not is_asked_K[number]:
                continue
            weight_B = weights_BK[:, number]
            mine = weight_B.nonzero().flatten()
            if not len(mine):  # another rank asks this teacher
                mine = torch.zeros(1, dtype=torch.long, device=weight_B.device)
            answer = clean_latents(
                teacher,
                noised_BCHW[mine].repeat(count, 1, 1, 1),
                tau_B[mine].repeat(count),
                text_NBTD[:, mine].flatten(0, 1),
                lens_NB[:, mine].flatten(),
            ).unflatten(0, (count, len(mine)))
            found_NBCHW[:, mine] += weight_B[mine].view(1, -1, 1, 1, 1) * answer
        return found_NBCHW


def clean_latents(
    model: VelocityModel,
    noised_BCHW: Tensor,
    tau_B: Tensor,
    text_BTD: Tensor,
    text_lens_B: Tensor,
) -> Tensor:
    """Return (B, C, H, W) clean latents that a model's velocity leads to, fp32."""
    velocity_BCHW = model(noised_BCHW, tau_B, text_BTD, text_lens_B)
    return noised_BCHW.float() - tau_B.float().view(-1, 1, 1, 1) * velocity_BCHW.float()


def over_ranks(is_wanted_K: Tensor) -> list[bool]:
    """Return what any rank wants."""
    wanted_K = is_wanted_K.int()
    if world_size() > 1:
        dist.all_reduce(wanted_K, op=dist.ReduceOp.MAX)
    return [bool(value) for value in wanted_K.tolist()]


def _stacked(conditions: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Return the texts as (N, B, longest T, D), and their lengths (N, B)."""
    longest = max(text_BTD.shape[1] for text_BTD, _ in conditions)
    texts = [pad(text_BTD, (0, 0, 0, longest - text_BTD.shape[1])) for text_BTD, _ in conditions]
    return torch.stack(texts), torch.stack([lens_B for _, lens_B in conditions])
