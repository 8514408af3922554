"""What is refused before a device is taken and before any weights are loaded."""

import json

import pytest
import torch

from curation.errors import ConfigError, StorageError, UsageError
from training import preflight
from training import run as run_module
from training.encoders.texts import HashedTokensConfig, HashedTokensEncoder
from training.recipe import in_step, parse_recipe
from training.run import carry_out, prepare, train

CPU = torch.device("cpu")


class OtherTexts(HashedTokensEncoder):
    """The same words, told as another version."""

    def identity(self):
        return {**super().identity(), "version": 2}


def parsed(text, *overrides):
    return parse_recipe(text, "toy.yaml", overrides)


def test_weights_that_are_not_there_are_refused(recipe, tmp_path):
    """By the name of the place, and with no encoder made."""
    codec = f"codec={{codec: flux2_vae, weights: {tmp_path}/vae}}"
    with pytest.raises(ConfigError, match=f"{tmp_path}/vae"):
        prepare(parsed(recipe(), codec), device=CPU)
    text = "text={encoder: ministral, weights: 'hf://a/b@" + "0" * 40 + "'}"
    with pytest.raises(ConfigError, match="not on this machine"):
        prepare(parsed(recipe(), text), device=CPU)


def test_preparing_loads_no_encoder(recipe):
    """They may have billions of weights; each is loaded when it is first asked for."""
    run, start = prepare(parsed(recipe()), device=CPU)

    assert start is None
    assert run.buckets[0][0] == (32, 32)
    assert "loaded" not in vars(run.codec)
    assert "loaded" not in vars(run.texts)


def test_what_changed_is_named(recipe, corpus):
    """A run that went on with other settings would be another run."""
    text = recipe()
    train(parsed(text, "loop.steps=3"), device=CPU)

    with pytest.raises(
        UsageError, match=r"another recipe .*\(optimizer.lr .*, now 0.5, seed 0, now 4\)"
    ):
        prepare(parsed(text, "optimizer.lr=0.5", "seed=4"), resume=True, device=CPU)
    with pytest.raises(UsageError, match=r"text.width 64, now 32"):
        prepare(parsed(text, "text.width=32"), resume=True, device=CPU)
    _, start = prepare(parsed(text, "workers.count=7"), resume=True, device=CPU)
    assert start == 3


def test_other_encoders_are_refused_once_they_are_known(recipe, tmp_path):
    """The recipe is the same and its encoder computes something else: nothing is trained on."""
    train(parsed(recipe(), "loop.steps=3"), device=CPU)
    path = tmp_path / "run/step-00000003/state.json"
    state = path.read_text()
    run, start = prepare(parsed(recipe()), resume=True, device=CPU)
    assert start == 3

    run.texts = OtherTexts(HashedTokensConfig())
    with pytest.raises(UsageError, match="made with other encoders"):
        carry_out(run, start)
    assert path.read_text() == state


def test_a_finished_run_is_left_alone(recipe, tmp_path):
    """Training again with `resume` changes no file."""
    train(parsed(recipe()), device=CPU)
    before = {p: p.stat().st_mtime_ns for p in sorted((tmp_path / "run").rglob("*"))}

    run = train(parsed(recipe()), resume=True, device=CPU)

    assert {p: p.stat().st_mtime_ns for p in sorted((tmp_path / "run").rglob("*"))} == before
    assert "loaded" not in vars(run.texts)


def test_the_number_of_processes_is_asked_once_it_is_known(recipe, tmp_path):
    """A launcher joins them after a recipe was looked at; until then each seems to be alone."""
    train(parsed(recipe(), "loop.steps=3"), device=CPU)
    path = tmp_path / "run/step-00000003/state.json"
    state = json.loads(path.read_text())
    state["world_size"], state["roles"]["model"]["optimizer"] = 2, "adamw_8bit"
    path.write_text(json.dumps(state))

    run, start = prepare(parsed(recipe()), resume=True, device=CPU)

    assert start == 3
    with pytest.raises(UsageError, match="step 3 was made by 2 processes"):
        carry_out(run, start)


def test_a_run_to_start_from_is_not_read_whole(recipe, tmp_path, monkeypatch):
    """Its checkpoints may be large, and lie in an object store."""
    first = tmp_path / "first"
    train(parsed(recipe(output=str(first)), "loop.steps=1"), device=CPU)
    asked: list[str] = []
    monkeypatch.setattr(preflight, "weights_digest", asked.append)

    run, _ = prepare(parsed(recipe(), f"model.weights={first}"), device=CPU)

    assert run.start is not None
    assert asked == []


def test_other_weights_to_start_from_are_named(recipe, tmp_path):
    """They are known by what they are: a run that went on has others."""
    first = tmp_path / "first"
    text = recipe(output=str(first))
    train(parsed(text, "loop.steps=1"), device=CPU)
    train(parsed(recipe(), "loop.steps=1", f"model.weights={first}"), device=CPU)
    train(parsed(text, "loop.steps=2"), device=CPU, resume=True)

    with pytest.raises(UsageError, match="other weights at model.weights"):
        prepare(parsed(recipe(), f"model.weights={first}"), resume=True, device=CPU)


def test_processes_must_agree_on_all_that_keeps_them_in_step(recipe):
    """One that evaluates, accumulates or ends otherwise would wait for the others for ever."""
    text = recipe()
    same = in_step(parsed(text))

    for change in ("data.micro_size=2", "loop.steps=7", "evaluation.every=2"):
        assert in_step(parsed(text, change)) != same
    assert in_step(parsed(text, "name=other", "output=/elsewhere", "workers.count=2")) == same


def test_what_went_wrong_is_what_is_said(recipe, monkeypatch):
    """The page cannot be written either: that is no news."""

    def fail(store):
        raise StorageError("the page")

    def on_step(step):
        raise ValueError("the run")

    monkeypatch.setattr(run_module, "write_summary", fail)
    with pytest.raises(ValueError, match="the run"):
        train(parsed(recipe()), device=CPU, on_step=on_step)
