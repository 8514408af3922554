"""Who of several teachers is the best, by domain and noise level: the rows of a gate, measured.

Shape suffixes: B batch, D domains, P parts of tau, K teachers.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from curation.errors import UsageError
from training.data.batch import Batch
from training.model import VelocityModel
from training.objectives.committee import DEFAULT, DomainGateConfig, GateConfig
from training.objectives.flow import path_error
from training.ranks import world_size


@dataclass(frozen=True)
class GateFit:
    """What was measured, and the table that follows.

    Attributes:
        domains: Names, `default` among them.
        teachers: Names.
        error_DPK: Mean denoising errors of held-out pictures; NaN where there were none.
        count_DP: Pictures that were measured.
        gate: Rows of one teacher each, the one with the smallest error, alike for both terms.
    """

    domains: tuple[str, ...]
    teachers: tuple[str, ...]
    error_DPK: Tensor
    count_DP: Tensor
    gate: GateConfig


@torch.no_grad()
def fit_gate(
    teachers: Mapping[str, VelocityModel],
    batches: Iterable[Batch],
    edges: Sequence[float],
    domains: Sequence[str],
    tau: tuple[float, float] = (0.02, 0.98),
) -> GateFit:
    """Measure every teacher on held-out pictures of every domain at levels of every part.

    Teachers are shown the same noise at the same level. A domain without held-out pictures, and
    `default`, have the rows that are best over all pictures.

    Args:
        teachers: Name -> model.
        batches: Held-out pictures with their texts, each once.
        edges: Of the parts of tau, from 0 to 1.
        domains: Those that a recipe names.
        tau: The range within which levels are drawn.

    Raises:
        UsageError: There is no held-out picture, or a part of tau lies outside the range.
    """
    names = tuple(dict.fromkeys([*domains, DEFAULT]))
    parts = [(max(low, tau[0]), min(high, tau[1])) for low, high in itertools.pairwise(edges)]
    for number, (low, high) in enumerate(parts):
        if low >= high:
            message = (
                f"gate: part {number} of tau, {edges[number]:g} to {edges[number + 1]:g}, lies "
                f"outside {tau[0]:g} to {tau[1]:g}; merge it with its neighbour"
            )
            raise UsageError(message)
    sum_DPK = torch.zeros(len(names), len(parts), len(teachers), dtype=torch.float64)
    count_DP = torch.zeros(len(names), len(parts), dtype=torch.float64)
    for batch in batches:
        places = [names.index(d) if d in names else names.index(DEFAULT) for d in batch.domains]
        place_B = torch.tensor(places)
        counted_B = (batch.weight_B > 0).double().cpu()
        for part, (low, high) in enumerate(parts):
            tau_B = batch.span(f"gate tau {part}", low, high)
            noise_BCHW = batch.noise(f"gate noise {part}")
            count_DP[:, part].index_add_(0, place_B, counted_B)
            for number, teacher in enumerate(teachers.values()):
                error_B = path_error(
                    teacher,
                    batch.latent_BCHW,
                    noise_BCHW,
                    tau_B,
                    batch.text_BTD,
                    batch.text_lens_B,
                ).double()
                sum_DPK[:, part, number].index_add_(0, place_B, counted_B * error_B.cpu())
    if world_size() > 1:
        dist.all_reduce(sum_DPK)
        dist.all_reduce(count_DP)
    if not count_DP.sum():
        message = "gate: there is no held-out picture to measure teachers on; set snapshot.split"
        raise UsageError(message)
    best_PK = _best(sum_DPK.sum(0))
    gate = GateConfig(
        edges=tuple(edges),
        domains={
            name: DomainGateConfig(
                both=_best(sum_DPK[d]) if name != DEFAULT and count_DP[d].all() else best_PK
            )
            for d, name in enumerate(names)
        },
    )
    error_DPK = sum_DPK / count_DP[..., None]
    return GateFit(names, tuple(teachers), error_DPK, count_DP, gate)


def _best(sum_PK: Tensor) -> tuple[tuple[float, ...], ...]:
    """Return rows with 1 for the smallest of each, the first of equals."""
    count = sum_PK.shape[1]
    return tuple(
        tuple(float(number == int(best)) for number in range(count)) for best in sum_PK.argmin(1)
    )
