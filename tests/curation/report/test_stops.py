"""Values at which sliders stop: round, few, and where the rows are."""

import pytest

from curation.report.scales import ZERO_BIN, Scale
from curation.report.stops import round_stops


def whole_range(scale, low, high):
    return dict.fromkeys(range(int(scale.position(low)), int(scale.position(high)) + 1), 10)


def test_a_declared_range_has_round_steps():
    """A score from 0 to 100 has stops at whole numbers, none at the ends that let all through."""
    scale = Scale("linear", 0, 100)

    found = round_stops(scale, whole_range(scale, 0, 99.9), "0..100", 20)

    assert found == tuple(range(5, 101, 5))


def test_small_steps_are_as_they_are_written():
    """Three tenths are 0.3, not a sum of tenths."""
    scale = Scale("linear", 0, 1)

    found = round_stops(scale, whole_range(scale, 0, 0.999), "0..1", 10)

    assert found[:4] == (0.1, 0.2, 0.3, 0.4)


def test_pixels_have_stops_at_quarters_of_octaves():
    """Sizes that people use are among them: 256, 320, 384, 448, 512."""
    scale = Scale("log")

    found = round_stops(scale, whole_range(scale, 200, 600), "px", 40)

    assert found == (224, 256, 320, 384, 448, 512)


@pytest.mark.parametrize("most", [3, 6, 10, 24, 40])
@pytest.mark.parametrize("unit", ["px", ">= 0"])
def test_there_are_never_more_than_asked_for(unit, most):
    """Over twelve decades too, in order and without repeats."""
    scale = Scale("log")

    found = round_stops(scale, whole_range(scale, 1e-3, 1e9), unit, most)

    assert 1 <= len(found) <= most
    assert list(found) == sorted(set(found))


def test_whole_numbers_have_whole_stops():
    """Counts stop at counts."""
    assert round_stops(Scale("whole"), {0: 3, 1: 5, 4: 1}, "bits", 40) == (1, 2, 3, 4, 5)


def test_a_limit_beyond_the_rows_can_be_reached():
    """Between a threshold and the first rows there are stops as well."""
    scale = Scale("log")

    found = round_stops(scale, whole_range(scale, 256, 1000), "px", 40, [64])

    assert found[0] == 80
    assert 128 in found


def test_nothing_has_no_stops():
    """Without rows above zero there is nothing to stop at."""
    assert round_stops(Scale("log"), {ZERO_BIN: 7}, "px", 40) == ()
