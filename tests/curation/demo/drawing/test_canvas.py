"""Drawing in pixels of the finished picture."""

import pytest

from curation.demo.drawing.canvas import Canvas

WHITE, BLACK = (255, 255, 255), (0, 0, 0)


@pytest.mark.parametrize("oversample", [1, 2])
def test_a_box_covers_its_pixels_and_no_others(oversample):
    """Whatever the oversampling, right and bottom excluded."""
    sheet = Canvas((6, 4), WHITE, oversample)
    sheet.box(1, 1, 3, 2, BLACK)

    picture = sheet.finish()
    dark = {(x, y) for x in range(6) for y in range(4) if picture.getpixel((x, y)) == BLACK}
    assert picture.size == (6, 4)
    assert dark == {(1, 1), (2, 1)}


def test_shapes_without_room_draw_nothing():
    """Scenes need not ask first whether something fits."""
    sheet = Canvas((4, 4), WHITE)
    sheet.box(3, 3, 1, 1, BLACK)
    sheet.oval(3, 0, 1, 4, BLACK)
    sheet.polygon([(0, 0), (1, 1)], BLACK)
    sheet.line([(0, 0)], BLACK)

    assert sheet.finish().getcolors() == [(16, WHITE)]


def test_wrapped_lines_fit_and_lose_no_word():
    """Only a word that is too long for any line stands out."""
    sheet = Canvas((100, 100), WHITE)
    text = "the quiet harbour remembers every lantern near the bridge"
    lines = sheet.wrapped(text, "sans", 9, 80)

    assert " ".join(lines) == text
    assert len(lines) > 2
    assert all(sheet.text_width(line, "sans", 9) <= 80 for line in lines)
    assert sheet.wrapped("incomprehensibilities", "sans", 9, 10) == ["incomprehensibilities"]


def test_a_paragraph_ends_before_its_bottom():
    """It returns where the next line would stand."""
    sheet = Canvas((100, 100), WHITE)
    end = sheet.paragraph(0, 0, 100, "word " * 80, "sans", 10, BLACK, bottom=30)

    assert end == pytest.approx(28)
    assert sheet.finish().crop((0, 32, 100, 100)).getcolors() == [(6800, WHITE)]


def test_fitted_text_is_as_large_as_it_may_be():
    """Never larger than asked, and no wider than the room."""
    sheet = Canvas((100, 100), WHITE)

    assert sheet.fitted("i", "sans", 100, 12) == 12
    narrow = sheet.fitted("a long line of text", "sans", 50, 40)
    assert sheet.text_width("a long line of text", "sans", narrow) <= 55
