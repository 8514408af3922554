"""What is refused before a device is taken and before any weights are loaded."""

import pytest
import torch

from curation.errors import ConfigError, UsageError
from training.encoders.texts import HashedTokensConfig, HashedTokensEncoder
from training.recipe import parse_recipe
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
