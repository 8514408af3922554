"""Numbers and names as people read them."""

import pytest

from curation.report import wording


@pytest.mark.parametrize(
    ("part", "whole", "expected"),
    [
        (0, 10, "0%"),
        (10, 10, "100%"),
        (1, 3, "33.3%"),
        (1, 100_000, "<0.1%"),
        (99_999, 100_000, ">99.9%"),
        (0, 0, "\N{EN DASH}"),
    ],
)
def test_shares_never_round_to_nothing_or_all(part, whole, expected):
    """One image of a hundred thousand is not none."""
    assert wording.percent(part, whole) == expected


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (512, "px", "512"),
        (1024, "px", "1,024"),
        (65_536, "bytes", "64 KiB"),
        (0.123456, "", "0.123"),
        (120_000, "", "120k"),
        (0, "bytes", "0 B"),
    ],
)
def test_axes_have_short_labels(value, unit, expected):
    """A label has a few characters."""
    assert wording.tick(value, unit) == expected


def test_sizes_go_up_to_the_largest_unit():
    """Any number of bytes has words."""
    assert wording.size(1536) == "1.5 KiB"
    assert wording.size(1 << 60) == "1024 PiB"


def test_times_are_as_people_say_them():
    """Milliseconds, seconds, minutes and hours."""
    said = ["250 ms", "1.5 s", "1 min 01 s", "2 h 01 min"]
    assert [wording.duration(s) for s in (0.25, 1.5, 61, 7260)] == said


def test_labels_fit():
    """What is too long ends in an ellipsis, wide letters count more, and nothing turns the text."""
    assert wording.fitting("graphic", 50) == "graphic"
    assert wording.fitting("graphic geometric", 60) == "graphic…"
    assert wording.fitting("graphic", 14) == ""
    assert len(wording.fitting("猫" * 20, 100)) < 10
    assert "\u202e" not in wording.fitting("a\u202eb" * 9, 100)
    assert len(wording.title("a" * 5000)) == wording.LONGEST_TITLE


def test_long_names_lose_their_middle():
    """Beginning and end of a path say the most."""
    short = wording.shortened("a" * 300 + "end.png", 30)

    assert len(short) == 30
    assert short.startswith("aaa")
    assert short.endswith("end.png")
    assert wording.last_name("a/b/c.png") == "c.png"


def test_what_cannot_be_printed_is_an_escape():
    """Control characters and changes of direction are shown, other scripts stay."""
    assert wording.printable("a\u202eb\x1b\n") == "a\\u202eb\\x1b\\n"
    assert wording.printable("שלום 图像 é") == "שלום 图像 é"
