"""Preference alignment: its gradient, its reference, and what stops it."""

import dataclasses
import math

import pytest
import torch
from pydantic import ValidationError

from tests.fakes.toys import make_batch, make_model
from training.data.pairs import PairBatch
from training.objectives.base import Phase
from training.objectives.dpo import (
    PRESETS,
    AutoBetaConfig,
    DpoConfig,
    DpoObjective,
    FrozenReference,
    PrecomputedReference,
    pair_errors,
)
from training.objectives.flow import SigmaConfig, draw_sigma


def make_pairs(count=4, **changes):
    """Make pairs of random latents."""
    batch = make_batch(count)
    loser = torch.randn(batch.latent_BCHW.shape, generator=torch.Generator().manual_seed(5))
    fields = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    return PairBatch(**{**fields, "loser_BCHW": loser, "reference_B2": None, **changes})


def swapped(batch):
    """Prefer the losers."""
    return dataclasses.replace(batch, latent_BCHW=batch.loser_BCHW, loser_BCHW=batch.latent_BCHW)


def config(**values):
    return DpoConfig.model_validate(values)


def objective(model, reference, **values):
    return DpoObjective(config(**values), model, FrozenReference(reference))


def errors_of(model, batch):
    """Return the errors of winners and losers at the draws that the objective makes."""
    return pair_errors(model, batch, draw_sigma(SigmaConfig(), batch), batch.noise("noise"))


def figure(update, name):
    return float(update.metrics[name].total / update.metrics[name].weight)


def gradient(loss, model):
    """Return all gradients in one vector."""
    parts = torch.autograd.grad(loss, list(model.parameters()))
    return torch.cat([part.flatten() for part in parts])


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_the_gradient_is_that_of_two_weighted_errors(preset):
    """(lambda_win + beta s) of the winner's error, (lambda_lose - beta s) of the loser's."""
    model, batch = make_model(0).double(), make_pairs()
    batch = dataclasses.replace(
        batch,
        latent_BCHW=batch.latent_BCHW.double(),
        loser_BCHW=batch.loser_BCHW.double(),
        text_BTD=batch.text_BTD.double(),
    )
    about = objective(model, make_model(1).double(), preset=preset)
    chosen = config(preset=preset)
    phase = about.next_phase({})
    update = about.update(phase, batch)
    found = gradient(update.loss, model)

    reference = errors_of(make_model(1).double(), batch).detach()
    errors = errors_of(model, batch)
    scale = batch.latent_BCHW[0].numel() if chosen.reduction == "sum" else 1
    beta = phase.values["beta"]
    known = errors.detach()
    delta = scale * ((known[:, 0] - known[:, 1]) - (reference[:, 0] - reference[:, 1]))
    push = scale * beta * torch.sigmoid(beta * delta)
    weighted = (chosen.lambda_win + push) * errors[:, 0] + (chosen.lambda_lose - push) * errors[
        :, 1
    ]
    expected = gradient(weighted.sum() / len(batch), model)

    assert float((found - expected).norm() / expected.norm()) < 1e-6


def test_the_other_preference_has_the_other_sign():
    """Swapping winner and loser flips delta."""
    model, reference, batch = make_model(0), make_model(1), make_pairs()
    about = objective(model, reference)

    there = about.update(about.next_phase({}), batch).samples["margin"]
    back = about.update(about.next_phase({}), swapped(batch)).samples["margin"]

    assert torch.allclose(there, -back, atol=1e-6)
    assert float(there.abs().max()) > 1e-3


def test_a_model_that_is_its_reference_has_no_opinion():
    """The preference costs ln 2; what is left are the anchors."""
    model, batch = make_model(0), make_pairs()
    about = objective(model, make_model(0))
    update = about.update(about.next_phase({}), batch)

    errors = errors_of(model, batch).detach().mean(0)
    expected = math.log(2) + 0.35 * float(errors[0]) + 0.15 * float(errors[1])
    assert float(update.loss.detach()) == pytest.approx(expected, rel=1e-6)
    assert figure(update, "win_ratio") == pytest.approx(1)
    assert figure(update, "s") == pytest.approx(0.5)


def test_the_reference_learns_nothing():
    """No gradient reaches it, and none is asked for."""
    reference = make_model(1)
    about = objective(make_model(0), reference)

    about.update(about.next_phase({}), make_pairs()).loss.backward()

    assert all(parameter.grad is None for parameter in reference.parameters())
    assert all(parameter.grad is not None for parameter in about.roles["model"].parameters())


def test_errors_known_before_are_as_good_as_the_model():
    """A reference that was asked earlier gives the same loss and gradient."""
    model, reference, batch = make_model(0), make_model(1), make_pairs()
    asked = errors_of(reference, batch).detach()
    live = objective(model, reference)
    stored = DpoObjective(config(), model, PrecomputedReference())
    phase = live.next_phase({})

    first = live.update(phase, batch)
    second = stored.update(phase, dataclasses.replace(batch, reference_B2=asked))

    assert float(first.loss.detach()) == pytest.approx(float(second.loss.detach()), rel=1e-6)
    apart = gradient(first.loss, model) - gradient(second.loss, model)
    assert float(apart.abs().max()) < 1e-6


def test_presets_differ_in_whether_losers_are_pushed_away():
    """The report's numbers, read as means, never push; as a sum they do, and so does `anchored`."""
    batch = make_pairs()
    coefficients = {}
    for preset in ("ernie_literal", "ernie_sum", "anchored", "diffusion_dpo"):
        about = objective(make_model(0), make_model(0), preset=preset)
        update = about.update(about.next_phase({}), batch)
        coefficients[preset] = figure(update, "loser_coefficient")

    assert coefficients["ernie_literal"] == pytest.approx(0.15 - 0.05 / 2)
    assert coefficients["ernie_sum"] == pytest.approx(0.15 - 0.05 / 2 * 16 * 4 * 4)
    assert coefficients["anchored"] == pytest.approx(0.15 - 0.5)
    assert coefficients["diffusion_dpo"] == pytest.approx(-1250)


def test_a_pair_that_must_not_be_learnt_from_counts_nothing():
    """Its weight is 0: no gradient, no figure, no margin."""
    batch = make_pairs(4)
    batch.weight_B[1:] = 0
    about = objective(make_model(0), make_model(1))
    update = about.update(about.next_phase({}), batch)
    alone = make_pairs(4)
    alone = dataclasses.replace(
        alone,
        **{
            name: getattr(alone, name)[:1]
            for name in ("latent_BCHW", "loser_BCHW", "text_BTD", "text_lens_B", "keys", "weight_B")
        },
        domains=("default",),
    )
    single = about.update(about.next_phase({}), alone)

    assert float(update.loss.detach()) == pytest.approx(float(single.loss.detach()), rel=1e-5)
    assert len(update.samples["margin"]) == 1
    assert sum(len(v) for n, v in update.samples.items() if n != "margin") == 1


def test_beta_follows_the_margins():
    """It is such that a usual margin keeps the wanted share of its gradient, within its range."""
    about = objective(make_model(0), make_model(0), preset="auto_beta")
    state: dict[str, float] = {}
    assert about.next_phase(state).values["beta"] == AutoBetaConfig().most

    for _ in range(3):
        about.observe(state, {"absolute_margin": 0.01})
    beta = about.next_phase(state).values["beta"]
    assert 1 / (1 + math.exp(beta * 0.01)) == pytest.approx(0.2)

    about.observe(state, {"absolute_margin": 1000.0})
    assert about.next_phase(state).values["beta"] == AutoBetaConfig().least


def test_a_fixed_beta_needs_no_state():
    """Nothing is kept that is not needed to go on."""
    about = objective(make_model(0), make_model(0))
    state: dict[str, float] = {}
    about.observe(state, {"absolute_margin": 1.0})

    assert (about.next_phase(state), state) == (Phase("model", values={"beta": 1.0}), {})


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"win_ratio": 1.06, "lose_ratio": 1.0}, "winners is 1.060 times"),
        ({"win_ratio": 1.0, "lose_ratio": 2.5}, "objective.max_lose_ratio, 2"),
    ],
)
def test_a_model_that_forgets_is_stopped(found, words):
    """On held-out pairs neither error may pass its bound."""
    about = objective(make_model(0), make_model(0))

    assert words in about.complaint(found)
    assert about.complaint({"win_ratio": 1.05, "lose_ratio": 2.0}) is None
    assert (
        objective(make_model(0), make_model(0), max_win_ratio=None, max_lose_ratio=None).complaint(
            found
        )
        is None
    )


def test_a_range_of_beta_must_be_one():
    """A lower end above the upper one is refused."""
    with pytest.raises(ValidationError, match="least is 5, above most, 2"):
        AutoBetaConfig(least=5, most=2)
