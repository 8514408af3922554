"""Several teachers: whose answer counts, and who is asked at all."""

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from training.objectives.committee import Committee, Gate, GateConfig, clean_latents


class Scaled(nn.Module):
    """Takes the clean latents to be a multiple of the noised ones, and counts what it is asked."""

    def __init__(self, factor):
        super().__init__()
        self.factor, self.asked = factor, []

    def forward(self, latent, sigma, text, lens):
        self.asked.append(len(latent))
        return (1 - self.factor) * latent / sigma.view(-1, 1, 1, 1)


def table(**domains):
    return {
        name: {"both": rows} if isinstance(rows, list) else rows for name, rows in domains.items()
    }


def make(gate, *factors):
    """Make a committee of teachers that multiply."""
    config = GateConfig.model_validate(gate)
    assert config.check(len(factors)) == []
    teachers = {f"expert {n}": Scaled(factor) for n, factor in enumerate(factors)}
    return Committee(teachers, Gate(config)), list(teachers.values())


def ask(committee, term, taus, domains, conditions=1):
    latent = torch.ones(len(taus), 1, 1, 1)
    text = (torch.zeros(len(taus), 2, 3), torch.full((len(taus),), 2))
    longer = (torch.zeros(len(taus), 4, 3), torch.full((len(taus),), 4))
    asked = [text, longer][:conditions]
    return committee.clean(term, latent, torch.tensor(taus), domains, asked).flatten(1)


def test_each_sample_is_answered_by_its_row():
    """Level, domain and term choose the weights; an unknown domain has the default's."""
    gate = {
        "edges": [0, 0.5, 1],
        "domains": table(
            default=[[1, 0], [0, 1]], text={"ca": [[0, 1], [0, 1]], "dm": [[0.25, 0.75], [1, 0]]}
        ),
    }
    committee, _ = make(gate, 2.0, 4.0)

    dm = ask(
        committee, "dm", [0.1, 0.9, 0.1, 0.9, 0.1], ["default", "default", "text", "text", "new"]
    )
    ca = ask(committee, "ca", [0.1, 0.9], ["text", "text"])

    assert torch.allclose(dm[0], torch.tensor([2.0, 4.0, 3.5, 2.0, 2.0]))
    assert torch.allclose(ca[0], torch.tensor([4.0, 4.0]))


def test_an_edge_belongs_to_the_part_above_it():
    """A level on the border is in exactly one part."""
    committee, _ = make(
        {"edges": [0, 0.5, 1], "domains": table(default=[[1, 0], [0, 1]])}, 2.0, 4.0
    )

    found = ask(committee, "dm", [0.5, 0.499], ["default"] * 2)

    assert torch.allclose(found[0], torch.tensor([4.0, 2.0]))


def test_only_who_counts_is_asked_and_only_for_those_samples():
    """Rows with one teacher cost one forward, with and without text together."""
    committee, (first, second, third) = make(
        {"domains": table(default=[[1, 0, 0]], text=[[0, 1, 0]])}, 2.0, 3.0, 4.0
    )

    ask(committee, "ca", [0.1, 0.2, 0.3], ["default", "text", "default"], conditions=2)

    assert (first.asked, second.asked, third.asked) == ([4], [2], [])


def test_teachers_that_are_the_same_are_one():
    """Whatever the weights, the answer is that of any of them."""
    one, _ = make({}, 2.5)
    many, _ = make({"domains": table(default=[[0.2, 0.3, 0.5]])}, 2.5, 2.5, 2.5)
    taus, domains = [0.1, 0.7], ["default"] * 2

    apart = ask(one, "ca", taus, domains, 2) - ask(many, "ca", taus, domains, 2)
    assert float(apart.abs().max()) < 1e-6


def test_clean_latents_are_where_the_velocity_leads():
    """Noised - tau * velocity, in fp32 whatever the model computes in."""

    class Half(nn.Module):
        def forward(self, latent, sigma, text, lens):
            return torch.full_like(latent, 2.0, dtype=torch.bfloat16)

    text = (torch.zeros(1, 1, 1), torch.ones(1))
    found = clean_latents(Half(), torch.ones(1, 1, 1, 1), torch.tensor([0.25]), *text)

    assert found.dtype == torch.float32
    assert float(found) == 0.5


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ({"edges": [0, 0.7, 0.5, 1]}, "numbers that rise from 0 to 1"),
        ({"edges": [0.1, 1]}, "numbers that rise from 0 to 1"),
        ({"domains": table(default=[[0.5, 0.4]])}, "adds up to 0.9, expected 1"),
        ({"domains": table(default=[[1.5, -0.5]])}, "each weight must be from 0 to 1"),
        ({"domains": table(text=[[1]])}, "`default` is missing"),
        ({"domains": table(default={"ca": [[1]]})}, "state `both`, or `ca` and `dm`"),
    ],
)
def test_a_wrong_table_is_refused(gate, words):
    """Each kind of mistake has its sentence."""
    with pytest.raises(ValidationError, match=words):
        GateConfig.model_validate(gate)


def test_a_table_must_fit_the_teachers_and_the_parts():
    """What does not fit is named with its place."""
    gate = GateConfig.model_validate(
        {"edges": [0, 0.5, 1], "domains": table(default=[[1], [1]], text=[[1, 0]])}
    )

    assert gate.check(1) == [
        "gate.domains.text.ca: 1 rows for 2 parts of tau",
        "gate.domains.text.ca[0]: 2 weights for 1 teachers",
        "gate.domains.text.dm: 1 rows for 2 parts of tau",
        "gate.domains.text.dm[0]: 2 weights for 1 teachers",
    ]
