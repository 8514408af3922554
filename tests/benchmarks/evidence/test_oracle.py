"""The oracle of rendered shapes."""

import numpy as np
import pytest

from benchmarks.evidence import oracle, shapes


def test_every_outline_in_every_color_is_read():
    """Nothing that can be drawn is taken for something else, and all of it is explained."""
    outlines = list(range(len(shapes.OUTLINES)))
    for number, color in enumerate(shapes.COLORS):
        grey = shapes.GREYS[number % 2]
        pixels = shapes.render(outlines, [color] * len(outlines), [grey] * len(outlines))

        reading = oracle.read(pixels)

        wanted = [shapes.Prompt(color, outline.form) for outline in shapes.OUTLINES]
        assert list(reading.prompts) == wanted
        assert reading.explained_N.min() > 0.999


@pytest.mark.parametrize("deviation", [20, 60])
def test_noise_does_not_mislead_it(deviation):
    """Shapes are read through noise in which they are still to be seen."""
    pictures = shapes.draw(200, seed=3)
    rng = np.random.default_rng(0)
    noisy = pictures.pixels_NYX3 + rng.normal(0, deviation, pictures.pixels_NYX3.shape)

    reading = oracle.read(np.rint(noisy).clip(0, 255).astype(np.uint8))

    assert oracle.score(reading, pictures.prompts).both == 1.0


def test_what_is_no_shape_is_explained_by_none():
    """Noise, and a plain picture, get some answer; how little it explains gives it away."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (20, 32, 32, 3)).astype(np.uint8)
    plain = np.full((1, 32, 32, 3), 90, np.uint8)

    assert oracle.read(noise).explained_N.max() < 0.1
    assert oracle.read(plain).explained_N.max() == 0.0


def test_scores_count_what_was_asked_for():
    """Form and colour are counted apart, and by what was asked for."""
    asked = shapes.Prompt("red", "circle"), shapes.Prompt("blue", "circle")
    pixels = shapes.render([0, _outline("square")], ["red", "blue"], [80, 80])

    reading = oracle.read(pixels)
    score = oracle.score(reading, asked)
    by_domain = oracle.score_by(reading, asked, lambda prompt: prompt.domain)

    assert (score.form, score.color, score.both, score.num_pictures) == (0.5, 1.0, 0.5, 2)
    assert [(name, found.both) for name, found in by_domain.items()] == [("warm", 1), ("cold", 0)]


def _outline(form):
    return next(n for n, outline in enumerate(shapes.OUTLINES) if outline.form == form)
