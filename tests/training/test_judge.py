"""What is said of a run in the end."""

from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from training.judge import Verdict, held_out_texts, judge
from training.quality import low_pass, shuffled_pixels, sliced_wasserstein
from training.recipe import parse_recipe
from training.run import Run, train


def made(**changes):
    return Verdict(
        **{
            "first_loss": 2.0,
            "last_loss": 1.9,
            "distance": 0.03,
            "baseline": 0.07,
            "floor": 0.03,
            "num_pictures": 160,
            **changes,
        }
    )


def test_the_loss_has_to_fall():
    """A loss that stayed where it was is no fall."""
    assert made().has_fallen
    assert not made(last_loss=2.0).has_fallen
    assert not made(last_loss=2.1).has_fallen


def test_pictures_have_to_be_at_most_half_as_far_as_shuffled_pixels():
    """Half is near enough, a little more is not; what real pictures reach changes nothing."""
    assert made(distance=0.035).is_near
    assert not made(distance=0.0351).is_near
    assert not made(distance=0.0351, floor=0.05).is_near


def test_every_held_out_picture_is_drawn_and_compared(recipe, tmp_path):
    """The figures are those of the whole held-out split as squares; sheets of both are left."""
    text = recipe(evaluation={"every": 3, "images": 8, "steps": 2})
    run = train(parse_recipe(text, "toy.yaml"), device=torch.device("cpu"))

    verdict = judge(run, tmp_path / "run")

    table = replace(run.held_out, aspect=np.zeros_like(run.held_out.aspect))
    real = torch.from_numpy(run.pictures(table, range(len(table))))
    shuffled = low_pass(shuffled_pixels(real))
    assert verdict.num_pictures == len(run.held_out)
    assert verdict.baseline == sliced_wasserstein(shuffled, low_pass(real))
    with Image.open(tmp_path / "run/held-out.png") as sheet:
        assert np.array_equal(np.asarray(sheet)[:32, :32], real[0].numpy())
        size = sheet.size
    with Image.open(tmp_path / "run/drawn.png") as sheet:
        assert sheet.size == size == (8 * 36 - 4, -(-len(table) // 8) * 36 - 4)
    assert 0 < verdict.floor < verdict.distance  # six steps teach nothing
    assert not verdict.is_near


def test_pictures_are_drawn_for_captions_of_the_kinds_that_were_learnt(recipe):
    """A model is not asked for what it was never shown: no long caption, none without text."""
    text = recipe(data={"captions": {"variants": {"tags": 1, "short": 1}, "dropout": 0.9}})
    run = Run(parse_recipe(text, "toy.yaml"), torch.device("cpu"))

    texts = held_out_texts(run)

    lists = run.held_out.captions.to_pylist()
    for found, captions in zip(texts, lists, strict=True):
        kinds = {caption["variant"] for caption in captions if caption["text"] == found}
        assert kinds & {"tags", "short"}
    assert {captions[-1]["variant"] for captions in lists} == {"long"}
