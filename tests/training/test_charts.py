"""Charts: everything lies within its frame, labels tell values apart."""

import pytest

from training.charts import BOTTOM, LEFT, RIGHT, TOP, amount, draw_chart


def places(points):
    return [tuple(map(float, point.split(","))) for point in points.split()]


@pytest.mark.parametrize(
    "values",
    [
        [1.0],
        [0.0, 0.0, 0.0],
        [-3.0, 2.0, 5.0],
        [1e-5, 2e-5, 1.5e-5],
        [1.0, 1.0003, 1.0001],
        [0.01, 4000.0, 2.0],
        [12_345.0, 99_000.0],
        [1.0 / (n + 1) for n in range(3000)],
    ],
)
def test_lines_lie_within_their_frame(values):
    """One value or thousands, equal, negative, tiny or far apart; labels differ from each other."""
    series = {"a": [(n + 1, value) for n, value in enumerate(values)]}
    chart = draw_chart("A", series, last_step=len(values))

    (line,) = chart.lines
    for x, y in [*places(line.points), *places(line.band), *line.dots]:
        assert LEFT <= x <= RIGHT
        assert TOP - 0.01 <= y <= BOTTOM + 0.01
    assert len(places(line.points)) <= 400
    assert bool(line.band) == (len(values) > 400)
    for ticks in (chart.x_ticks, chart.y_ticks):
        assert 1 <= len(ticks) <= 8
        assert len({words for _, words in ticks}) == len(ticks)
    assert all(TOP - 0.01 <= y <= BOTTOM + 0.01 for y, _ in chart.y_ticks)
    assert line.last == amount(values[-1])


def test_values_far_apart_are_shown_logarithmically():
    """Unless they are shares of something, which begin at nothing."""
    series = {"a": [(1, 0.01), (2, 5.0)]}
    assert draw_chart("A", series, last_step=2).is_log
    assert not draw_chart("A", series, last_step=2, from_zero=True).is_log


def test_a_long_line_keeps_its_extremes():
    """A single spike among thousands of steps is seen in the band."""
    values = [1.0] * 5000
    values[2500] = 9.0
    chart = draw_chart("A", {"a": list(enumerate(values))}, last_step=5000)
    assert min(y for _, y in places(chart.lines[0].band)) < 40


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.0, "0"),
        (0.012345, "0.0123"),
        (9999.0, "9,999"),
        (12_345.0, "12.35k"),
        (-1_018_988.0, "-1.019M"),
        (8.03e9, "8.03G"),
        (3e20, "3e+20"),
    ],
)
def test_amounts_are_short(value, words):
    """So that no label leaves its drawing."""
    assert amount(value) == words


def test_nothing_measured_says_so():
    """A chart without a value has a sentence instead."""
    chart = draw_chart("A", {"a": []}, last_step=1, empty="Nothing yet.")
    assert (chart.lines, chart.note) == ((), "Nothing yet.")
