"""Fitting a gate: the teacher that denoises best, by domain and level."""

import dataclasses

import pytest
import torch
from torch import nn

from curation.errors import UsageError
from tests.fakes.toys import make_batch
from training.fit_gate import fit_gate
from training.objectives.committee import Gate


class Knows(nn.Module):
    """Has the right velocity of the latents it knows below a level, and none elsewhere."""

    def __init__(self, latents, below=1.0, above=0.0):
        super().__init__()
        self.latents, self.below, self.above = latents, below, above

    def forward(self, latent, sigma, text, lens):
        wide = sigma.view(-1, 1, 1, 1)
        found = torch.zeros_like(latent)
        for clean in self.latents:
            noise = (latent - (1 - wide) * clean) / wide
            is_it = (noise.abs().amax((1, 2, 3)) < 20) & (text[:, 0, 0] == clean.flatten()[0])
            known = is_it & (sigma < self.below) & (sigma >= self.above)
            found = torch.where(known.view(-1, 1, 1, 1), noise - clean, found)
        return found


def held_out():
    """Return four pictures, two of each domain; the first feature of a text names its picture."""
    batch = make_batch(4)
    batch.text_BTD[:, 0, 0] = batch.latent_BCHW.flatten(1)[:, 0]
    return dataclasses.replace(batch, domains=("art", "art", "text", "text"))


def test_each_domain_and_level_gets_the_teacher_that_denoises_it_best():
    """What was planted is found; the default is best over everything."""
    batch = held_out()
    art, text = batch.latent_BCHW[:2], batch.latent_BCHW[2:]
    teachers = {
        "artist": Knows(art),
        "typographer": Knows(text, above=0.5),
        "scribe": Knows(text, below=0.5),
    }

    fit = fit_gate(teachers, [batch], [0, 0.5, 1], ["art", "text"])

    gate = Gate(fit.gate)
    taus = torch.tensor([0.3, 0.7])
    assert gate.weights("dm", taus, ["art", "art"]).tolist() == [[1, 0, 0], [1, 0, 0]]
    assert gate.weights("ca", taus, ["text", "text"]).tolist() == [[0, 0, 1], [0, 1, 0]]
    best, other = fit.error_DPK[0, 0, :2].tolist()
    assert best < 1e-6 < other
    assert fit.count_DP.tolist() == [[2, 2], [2, 2], [0, 0]]


def test_a_domain_without_pictures_has_the_rows_of_all():
    """Nothing is made up for it."""
    batch = held_out()
    teachers = {"nobody": Knows([]), "artist": Knows(batch.latent_BCHW[:2])}

    fit = fit_gate(teachers, [batch], [0, 1], ["music"])

    assert fit.gate.domains["music"] == fit.gate.domains["default"]
    assert fit.gate.domains["default"].both == ((0, 1),)


def test_pictures_that_must_not_be_used_do_not_count():
    """A sample of weight 0 decides nothing."""
    batch = held_out()
    batch.weight_B[:2] = 0
    teachers = {"artist": Knows(batch.latent_BCHW[:2]), "scribe": Knows(batch.latent_BCHW[2:])}

    assert fit_gate(teachers, [batch], [0, 1], []).gate.domains["default"].both == ((0, 1),)


@pytest.mark.parametrize(
    ("batches", "edges", "words"),
    [([], [0, 1], "no held-out picture"), ([], [0, 0.01, 1], "part 0 of tau, 0 to 0.01")],
)
def test_what_cannot_be_fitted_is_refused(batches, edges, words):
    """A sentence says what is missing."""
    with pytest.raises(UsageError, match=words):
        fit_gate({"a": Knows([])}, batches, edges, [])
