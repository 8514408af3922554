"""Lines: the order in which people read, and the share that they cover."""

import random

import numpy as np
import pytest

from stages.ocr.lines import Line, covered_share, in_reading_order


def line(text, left, top, width=80, height=20):
    corners = [[left, top], [left + width, top]]
    corners += [[left + width, top + height], [left, top + height]]
    return Line(text, 0.9, np.array(corners, np.float64))


def test_rows_from_the_top_and_each_from_the_left():
    """Lines that stand a little higher or lower than their neighbours belong to the same row."""
    lines = [line("one", 0, 3), line("two", 100, 0), line("three", 200, 5), line("four", 10, 40)]
    lines.append(line("five", 150, 36, height=30))
    for seed in range(5):
        mixed = random.Random(seed).sample(lines, len(lines))
        assert [found.text for found in in_reading_order(mixed)] == [
            "one",
            "two",
            "three",
            "four",
            "five",
        ]


def test_overlaps_are_counted_once():
    """Two boxes on each other cover as much as one; none cover nothing."""
    one = [line("a", 0, 0, 99, 49)]

    assert covered_share(one, 200, 100) == pytest.approx(0.25)
    assert covered_share([*one, line("b", 0, 0, 99, 49)], 200, 100) == pytest.approx(0.25)
    assert covered_share([], 200, 100) == 0
    assert covered_share([line("c", -50, -50, 900, 900)], 200, 100) == 1
