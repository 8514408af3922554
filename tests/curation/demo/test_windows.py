"""Windows in photographs."""

from itertools import combinations
from random import Random

import pytest

from curation.demo.drawing.photographs import PHOTOGRAPHS, photograph
from curation.demo.windows import Windows, area, inside, iou, overlap


@pytest.mark.parametrize("base", PHOTOGRAPHS)
def test_photographs_have_the_size_that_is_written_down(base):
    """Windows are planned from the sizes, without opening the files."""
    assert photograph(base).size == PHOTOGRAPHS[base].size


def test_iou_of_halves_and_quarters():
    """By hand: a third for two boxes that share half of each; none for neighbours."""
    left, middle, right = (0, 0, 0.5, 1), (0.25, 0, 0.75, 1), (0.5, 0, 1, 1)

    assert iou(left, left) == 1
    assert iou(left, middle) == pytest.approx(1 / 3)
    assert iou(left, right) == 0


def test_a_box_in_a_box_is_where_it_should_be():
    """The right half of the left half is the second quarter."""
    assert inside((0, 0, 0.5, 1), (0.5, 0, 1, 1)) == (0.25, 0, 0.5, 1)
    assert area(inside((0.2, 0.2, 0.7, 0.7), (0, 0, 0.5, 0.5))) == pytest.approx(0.0625)


def test_the_first_windows_of_a_photograph_share_little():
    """Less than 0.3, though a photograph is asked for ten of them."""
    windows, rng = Windows(), Random(1)
    boxes = [
        windows.reserve(rng, "dahlia", aspect, flipped=False, subject=False).box
        for aspect in (1, 1.5, 0.75, 1, 1.5, 0.75, 1, 1.5, 0.75, 1)
    ]

    assert max(iou(one, two) for one, two in combinations(boxes, 2)) < 0.3
    assert area(boxes[0]) > 0.2


def test_a_window_of_a_named_photograph_shows_what_it_is_named_after():
    """A portrait shows the face, or a part of it and little else."""
    windows, rng, subject = Windows(), Random(2), PHOTOGRAPHS["hopper"].subject
    for _ in range(8):
        box = windows.reserve(rng, "hopper", 1.0, flipped=False, subject=True).box
        assert overlap(box, subject) >= 0.6 * min(area(box), area(subject))


def test_a_window_has_the_aspect_asked_for():
    """In pixels of the photograph, which is not square itself."""
    shot = Windows().reserve(Random(3), "cat", 2.0, flipped=False, subject=False)

    assert shot.size[0] / shot.size[1] == pytest.approx(2.0)
    assert not shot.mirrored
