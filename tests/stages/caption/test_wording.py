"""Words for measurements, and quotations that stay quotations."""

import pytest

from stages.caption import wording


@pytest.mark.parametrize(
    ("size", "shape", "aspect"),
    [
        ((1000, 1000), "square", "1:1"),
        ((1000, 960), "square", "1:1"),
        ((1200, 800), "horizontal", "3:2"),
        ((1080, 1920), "vertical", "9:16"),
        ((4000, 1000), "panoramic", "3:1"),
        ((500, 1100), "tall", "9:21"),
        ((1, 1), "square", "1:1"),
    ],
)
def test_shapes(size, shape, aspect):
    """Proportions have the names that people give them."""
    assert (wording.orientation(*size), wording.aspect(*size)) == (shape, aspect)


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        ((120.0, 50.0, 40.0), []),
        ((20.0, 10.0, 0.0), ["dark", "low-contrast", "monochrome"]),
        ((230.0, 100.0, 90.0), ["bright", "high-contrast", "vivid"]),
    ],
)
def test_light(measured, words):
    """Only what is out of the ordinary is said."""
    assert wording.light(*measured) == words


def test_quotations_cannot_end_early():
    """Quotes, line breaks and control characters within a text do not leave the quotation."""
    text = "it's\n\ta 'trick' \x1b[31m\u202e`now`"

    found = wording.quoted(text)

    assert found == "'it\u2019s a \u2019trick\u2019 [31m \u2019now\u2019'"
    assert found.count("'") == 2
    assert found.isprintable()


@pytest.mark.parametrize("text", [None, "", " \n\x00"])
def test_nothing_to_quote(text):
    """Null and blank texts give no empty quotation."""
    assert wording.quoted(text) == ""


def test_long_texts_are_cut_between_words():
    """A cut text says so, and keeps to its length whatever it is made of."""
    words = wording.one_line("word " * 1000, 40)

    assert words == "word word word word word word word\u2026"
    assert wording.one_line("x" * 1000, 40) == "x" * 39 + "\u2026"
    assert wording.one_line("short", 40) == "short"


def test_lists():
    """One, two and three things."""
    assert [wording.listed("abc"[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
