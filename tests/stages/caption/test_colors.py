"""Names of colours: those that people give, in integers."""

import numpy as np
import pytest

from stages.caption.colors import COLORS, color_name, main_colors

KNOWN = {
    (0, 0, 0): "black",
    (20, 24, 30): "black",
    (255, 255, 255): "white",
    (240, 238, 230): "white",
    (128, 128, 128): "gray",
    (220, 20, 30): "red",
    (255, 140, 0): "orange",
    (139, 69, 19): "brown",
    (90, 60, 40): "brown",
    (255, 230, 0): "yellow",
    (34, 139, 34): "green",
    (0, 200, 200): "cyan",
    (30, 60, 200): "blue",
    (135, 206, 235): "blue",
    (128, 0, 160): "purple",
    (255, 105, 180): "pink",
    (255, 182, 193): "pink",
}


@pytest.mark.parametrize(("color", "name"), KNOWN.items())
def test_colors_have_the_names_that_people_give(color, name):
    """A few that nobody argues about."""
    assert color_name(*color) == name


def test_every_color_has_a_name():
    """No corner of the cube is left out, and every name is given to some colour."""
    levels = range(0, 256, 15)

    names = {color_name(r, g, b) for r in levels for g in levels for b in levels}

    assert names == set(COLORS)


def test_main_colors_come_by_size():
    """Small spots are not named, and there are three at most."""
    pixels = np.zeros((100, 100, 3), np.uint8)
    pixels[:50] = (220, 20, 30)
    pixels[50:80] = (30, 60, 200)
    pixels[80:98] = (34, 139, 34)

    assert main_colors(pixels) == ["red", "blue", "green"]
    pixels[:, :30] = 255
    assert main_colors(pixels) == ["red", "white", "blue"]


def test_a_picture_of_many_small_colors_has_one_name():
    """Where no colour is a main one, the largest is named."""
    shades = [(220, 20, 30), (255, 140, 0), (255, 230, 0), (34, 139, 34), (0, 200, 200)]
    shades += [(30, 60, 200), (128, 0, 160), (255, 105, 180), (139, 69, 19)]
    pixels = np.array([shades[n % 9] for n in range(9 * 11)] + [(30, 60, 200)], np.uint8)

    assert main_colors(pixels.reshape(10, 10, 3)) == ["blue"]
