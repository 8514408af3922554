"""Rendered shapes."""

import numpy as np

from benchmarks.evidence import shapes


def test_a_picture_is_one_color_on_a_plain_ground():
    """The ground is grey up to the edge, the middle of the form has its colour exactly."""
    middle = next(
        number
        for number, outline in enumerate(shapes.OUTLINES)
        if (outline.form, outline.right_px, outline.down_px) == ("circle", 0, 0)
    )

    (picture,) = shapes.render([middle], ["yellow"], [70])

    assert (picture[0] == 70).all()
    assert tuple(picture[16, 16]) == shapes.COLORS["yellow"]


def test_no_outline_is_cut_off():
    """Every form lies within the picture, so that its edge says what it is."""
    coverage = shapes.coverages_KYX()

    border = np.concatenate(
        [coverage[:, 0], coverage[:, -1], coverage[:, :, 0], coverage[:, :, -1]]
    )
    assert border.max() == 0
    assert len(np.unique(coverage.reshape(len(coverage), -1), axis=0)) == len(shapes.OUTLINES)


def test_draws_are_their_seeds():
    """The same seed draws the same pictures; every colour belongs to one domain."""
    one, again, other = shapes.draw(50, 1), shapes.draw(50, 1), shapes.draw(50, 2)

    assert np.array_equal(one.pixels_NYX3, again.pixels_NYX3)
    assert one.prompts == again.prompts
    assert not np.array_equal(one.pixels_NYX3, other.pixels_NYX3)
    assert {prompt.color for prompt in shapes.draw(200, 1, "cold").prompts} == set(
        shapes.DOMAINS["cold"]
    )
    assert sorted(shapes.COLORS) == sorted(c for cs in shapes.DOMAINS.values() for c in cs)


def test_prompts_ask_for_everything_as_often():
    """24 pairs for 48 prompts: each twice."""
    asked = shapes.prompts(48)

    assert {asked.count(prompt) for prompt in asked} == {2}
    assert len(set(asked)) == 24
    assert {prompt.domain for prompt in shapes.prompts(12, "warm")} == {"warm"}
    assert asked[0].text == "a red circle"
