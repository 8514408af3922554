"""Distillation: what moves the student, who takes a turn, and what it costs."""

import copy
import dataclasses
from collections import Counter

import pytest
import torch
from pydantic import ValidationError

from tests.fakes.toys import make_batch, make_model, make_source
from training.data.batch import Batch
from training.loop import Loop, LoopConfig
from training.objectives.base import Phase
from training.objectives.committee import Committee, Gate
from training.objectives.dmd import CRITIC, STUDENT, DmdConfig, DmdObjective, draw_depth
from training.optimizers import OptimizerConfig

TURBO = [1.0, 0.9545, 0.9, 0.8333, 0.75, 0.6429, 0.5, 0.3]
"""Of ERNIE-Image-Turbo, as published, to four digits."""


def make(teachers=None, *, student=None, critic=None, **values):
    """Make the objective; student, critic and the only teacher differ where nothing is said."""
    teachers = teachers or {"base": make_model(2)}
    values.setdefault("steps", 2)
    named = [{"name": name, "checkpoint": "-"} for name in teachers]
    config = DmdConfig.model_validate({"teachers": named, **values})
    committee = Committee(teachers, Gate(config.gate))
    return DmdObjective(config, student or make_model(0), critic or make_model(1), committee, 7)


def student_phase(depth=1):
    return Phase(STUDENT, values={"depth": depth})


def moved(objective, batch, depth=1):
    """Return the direction of the student's pictures, and the gradient of its weights."""
    update = objective.update(student_phase(depth), batch)
    gradients = torch.autograd.grad(update.loss, list(objective.roles[STUDENT].parameters()))
    clean = objective.draw(batch, depth).detach()
    level = DmdConfig.model_validate({"teachers": [{"name": "a", "checkpoint": "-"}], "steps": 2})
    return objective.direction(batch, clean, level.levels[depth]), gradients


def same(first, second, tolerance):
    return all(
        float((a - b).detach().abs().max()) <= tolerance * float(b.detach().abs().max())
        for a, b in zip(first, second, strict=True)
    )


def test_the_students_levels_are_those_of_the_released_model():
    """Eight steps with shift 3, and no ninth at 0."""
    config = DmdConfig.model_validate({"teachers": [{"name": "a", "checkpoint": "-"}]})

    assert config.levels == pytest.approx(TURBO, abs=5e-5)


def test_a_student_as_good_as_its_teacher_does_not_move():
    """Critic and teacher agree, and there is no guidance: nothing to learn."""
    objective = make({"base": make_model(1)}, critic=make_model(1), guidance=1.0)
    direction, gradients = moved(objective, make_batch(3))

    assert float(direction.gradient().abs().max()) == 0
    assert all(float(gradient.abs().max()) == 0 for gradient in gradients)


def test_without_guidance_text_adds_nothing():
    """Guidance 1 is matching distributions alone, and asks no teacher for less than the text."""
    asked = []
    teacher = make_model(2)
    teacher.register_forward_hook(lambda module, args, out: asked.append(len(args[0])))
    objective = make({"base": teacher}, guidance=1.0)
    batch = make_batch(3)

    direction, _ = moved(objective, batch)

    assert float(direction.ca_BCHW.abs().max()) == 0
    assert set(asked) == {3}


def test_coupled_is_decoupled_with_equal_draws():
    """One level and one noise for both terms give what coupling them gives."""
    batch = make_batch(3)

    class EqualDraws(Batch):
        def span(self, purpose, low, high):
            return super().span("tau dm" if purpose == "tau ca" else purpose, 0.02, 0.98)

        def noise(self, purpose):
            return super().noise("noise dm" if purpose == "noise ca" else purpose)

    fields = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch)}
    _, coupled = moved(make(guidance=3.0, coupled=True), batch)
    _, decoupled = moved(make(guidance=3.0), EqualDraws(**fields))
    _, others = moved(make(guidance=3.0), batch)

    assert same(coupled, decoupled, 0)
    assert not same(coupled, others, 1e-3)


def test_the_coupled_direction_is_dmd2s():
    """(critic - guided teacher) / mean |pictures - guided teacher|, written out once more."""
    batch, critic, teacher = make_batch(3), make_model(1), make_model(2)
    objective = make({"base": teacher}, critic=critic, guidance=3.0, coupled=True)
    clean = objective.draw(batch, 1).detach()

    tau = (0.02 + 0.96 * batch.uniform("tau dm")).float().view(-1, 1, 1, 1)
    noised = (1 - tau) * clean + tau * batch.noise("noise dm")
    with torch.no_grad():
        fake = noised - tau * critic(noised, tau.flatten(), batch.text_BTD, batch.text_lens_B)
        real = noised - tau * teacher(noised, tau.flatten(), batch.text_BTD, batch.text_lens_B)
        null = noised - tau * teacher(noised, tau.flatten(), *batch.null())
    guided = null + 3.0 * (real - null)
    expected = (fake - guided) / (clean - guided).abs().mean((1, 2, 3), keepdim=True)

    found = objective.direction(batch, clean, 0.75).gradient()
    assert torch.allclose(found, expected, atol=1e-4)


def test_the_loss_moves_pictures_along_the_direction():
    """The gradient of the loss by a picture is the direction, over elements and samples."""
    batch = make_batch(4)
    objective = make(guidance=3.0)
    kept = []
    original = objective.draw

    def keeping(*where):
        kept.append(original(*where))
        return kept[-1]

    objective.draw = keeping

    update = objective.update(student_phase(), batch)
    (found,) = torch.autograd.grad(update.loss, kept[0])

    expected = objective.direction(batch, kept[0].detach(), 0.75).gradient()
    assert torch.allclose(found, expected / expected[0].numel() / 4, atol=1e-7)


@pytest.mark.parametrize("normaliser", ["shared", "per_branch"])
def test_teachers_that_are_the_same_are_one(normaliser):
    """A committee of equals gives the gradient of a single teacher; of one, exactly."""
    batch = make_batch(3)
    several = {name: make_model(2) for name in ("a", "b", "c")}
    rows = {"default": {"both": [[0.2, 0.3, 0.5]]}}
    values = {"guidance": 3.0, "normaliser": normaliser}

    _, single = moved(make({"base": make_model(2)}, **values), batch)
    _, many = moved(make(several, gate={"domains": rows}, **values), batch)

    assert same(many, single, 1e-6)


def test_a_branch_asks_one_teacher_once():
    """With rows of one teacher each, two terms are two forwards of one teacher or of two."""
    calls: Counter[str] = Counter()
    teachers = {name: make_model(2) for name in ("layout", "detail")}
    for name, model in teachers.items():
        model.register_forward_hook(lambda *_, name=name: calls.update([name]))
    gate = {"domains": {"default": {"ca": [[1, 0]], "dm": [[0, 1]]}}}
    objective = make(teachers, guidance=3.0, gate=gate)

    objective.update(student_phase(), make_batch(3))

    assert calls == {"layout": 1, "detail": 1}


def test_guidance_looks_at_cleaner_levels_than_the_students():
    """The levels of the second term end where the student stands."""
    objective = make(guidance=3.0)
    asked = []
    real = objective._committee.clean

    def noting(term, noised, tau, *rest):
        asked.append((term, tau))
        return real(term, noised, tau, *rest)

    objective._committee.clean = noting

    objective.update(student_phase(depth=1), make_batch(64))

    levels = dict(asked)
    assert 0.5 < float(levels["ca"].max()) < 0.75  # the student's second level of two is 0.75
    assert float(levels["dm"].max()) > 0.75


def test_roles_take_turns_and_keep_to_them():
    """Five critics' updates, one of the student; nobody moves out of turn, in no run or resume."""
    objective = make()
    before = {name: copy.deepcopy(module.state_dict()) for name, module in objective.roles.items()}
    loop = Loop(
        objective,
        make_source(),
        LoopConfig(steps=12, log_every=1),
        dict.fromkeys(objective.roles, OptimizerConfig(lr=1e-3, warmup_steps=0)),
    )
    turns = []

    def on_step(step):
        changed = []
        for name, module in objective.roles.items():
            now = module.state_dict()
            if any(not torch.equal(now[key], value) for key, value in before[name].items()):
                changed.append(name)
            before[name] = copy.deepcopy(now)
        turns.append(changed)

    loop.run(on_step)

    assert turns == ([[CRITIC]] * 5 + [[STUDENT]]) * 2


def test_no_teacher_learns():
    """Neither turn leaves a gradient on a teacher, and each only on its own role."""
    teacher = make_model(2)
    objective = make({"base": teacher}, guidance=3.0)
    for role in (CRITIC, STUDENT):
        objective.update(Phase(role, values={"depth": 1}), make_batch(2)).loss.backward()
        others = {CRITIC: STUDENT, STUDENT: CRITIC}[role]
        assert all(p.grad is None for p in teacher.parameters())
        assert all(p.grad is None for p in objective.roles[others].parameters())
        assert any(p.grad is not None for p in objective.roles[role].parameters())
        objective.roles[role].zero_grad(set_to_none=True)


def test_the_depth_is_the_same_for_everybody():
    """It depends on seed and number alone, is even over the levels, and the state counts on."""
    drawn = Counter(draw_depth(7, number, 8) for number in range(4000))
    assert sorted(drawn) == list(range(8))
    assert max(abs(count - 500) for count in drawn.values()) < 100

    objective = make()
    state: dict[str, int] = {}
    phases = [objective.next_phase(state) for _ in range(6)]
    again = make().next_phase({"updates": 3})
    assert again == phases[3]
    assert state == {"updates": 6}


@pytest.mark.parametrize("resample", ["renoise", "euler"])
def test_the_student_is_trained_where_its_own_steps_lead(resample):
    """Its second picture is made from its first one, by the sampler that was chosen."""
    student, batch = make_model(0), make_batch(3)
    objective = make(student=student, resample=resample)
    with torch.no_grad():
        found = objective.draw(batch, 1)
        noise = batch.noise("student")
        text = (batch.text_BTD, batch.text_lens_B)
        velocity = student(noise, torch.ones(3), *text)
        ahead = batch.noise("renoise 0") if resample == "renoise" else noise
        clean = noise - velocity
        latent = 0.25 * clean + 0.75 * ahead
        if resample == "euler":
            latent = noise - 0.25 * velocity
        expected = latent - 0.75 * student(latent, torch.full((3,), 0.75), *text)

    assert torch.allclose(found, expected, atol=1e-5)


def test_the_critic_may_follow_the_student():
    """After the student's update, and only then, a part of the student is mixed in."""
    objective = make(alignment=0.75)
    critic, student = objective.roles[CRITIC], objective.roles[STUDENT]
    before = [p.detach().clone() for p in critic.parameters()]

    objective.stepped(Phase(CRITIC))
    assert same(list(critic.parameters()), before, 0)
    objective.stepped(student_phase())

    expected = [0.75 * a + 0.25 * b for a, b in zip(before, student.parameters(), strict=True)]
    assert same(list(critic.parameters()), expected, 1e-6)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"steps": 64, "shift": 0.5}, "last level is 0.0079, not above tau's lower end"),
        ({"tau": [0.5, 0.1]}, "two rising numbers between 0 and 1"),
        ({"teachers": [{"name": "a", "checkpoint": "x"}] * 2}, "each needs a name of its own"),
        ({"gate": {"domains": {"default": {"both": [[0, 1]]}}}}, "2 weights for 1 teachers"),
    ],
)
def test_a_wrong_configuration_is_refused(values, words):
    """In a sentence that says what is wrong."""
    with pytest.raises(ValidationError, match=words):
        DmdConfig.model_validate({"teachers": [{"name": "a", "checkpoint": "x"}], **values})
