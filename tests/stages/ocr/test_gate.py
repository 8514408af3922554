"""The gate before OCR: text passes, most other things do not, always alike."""

import numpy as np
import pytest

from stages.ocr.gate import letters_in_a_row
from stages.ocr.stage import may_have_text
from tests.stages.ocr.written import written
from tests.stages.photographs import photograph

THRESHOLD = 6


def pixels_of(image):
    return np.asarray(image)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"paper": (20, 20, 30), "ink": (240, 240, 240)},
        {"paper": (120, 60, 60), "ink": (200, 180, 60)},
        {"height": 12},
        {"height": 60, "size": (900, 300)},
    ],
)
def test_text_passes(options):
    """Dark on light, light on dark, in colour, small and large."""
    assert may_have_text(pixels_of(written(["A line of words"], **options)), THRESHOLD)


@pytest.mark.parametrize(("size", "height"), [((728, 90), 64), ((468, 60), 40), ((900, 120), 90)])
def test_a_banner_is_one_line_from_edge_to_edge(size, height):
    """Its letters are most of the picture's height."""
    image = written(["SUMMER SALE 50%"], size=size, height=height, top=(size[1] - height) // 4)

    assert may_have_text(pixels_of(image), THRESHOLD)


@pytest.mark.parametrize("degrees", [-11, 8])
def test_slanted_text_passes(degrees):
    """A page that lies askew is a page."""
    image = written(["A line of words", "and another line"]).rotate(degrees, fillcolor="white")

    assert may_have_text(pixels_of(image), THRESHOLD)


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "dahlia", "moon", "galaxies"])
def test_photographs_do_not(name):
    """Nothing in these stands in a row like letters."""
    assert not may_have_text(pixels_of(photograph(name)), THRESHOLD)


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1), (40, 40)])
def test_plain_and_tiny_pictures_do_not(shape):
    """There is nothing in them, whatever their size."""
    assert letters_in_a_row(np.full(shape, 200, np.uint8), THRESHOLD) <= 1


def test_letters_are_counted():
    """Seven rings of like height, side by side, are a row of seven; a larger one does not count."""
    luma = np.full((200, 400), 230, np.uint8)
    for number in range(7):
        luma[80:100, 40 + 18 * number : 52 + 18 * number] = 20
        luma[84:96, 44 + 18 * number : 48 + 18 * number] = 230
    luma[60:130, 180:215] = 20
    luma[70:120, 190:205] = 230

    assert letters_in_a_row(luma, 100) == 7
    assert letters_in_a_row(luma, 4) == 4
    assert letters_in_a_row(255 - luma, 100) == 7


def test_noise_takes_bounded_time_and_gives_one_answer():
    """A picture of nothing but spots is looked at in part."""
    noise = np.random.default_rng(0).integers(0, 256, (600, 900), dtype=np.uint8)

    assert letters_in_a_row(noise, 1000) == letters_in_a_row(noise.copy(), 1000)
