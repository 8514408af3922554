"""Which columns have a slider, and where it stops."""

from dataclasses import replace

import pytest

from curation import duck
from curation.report.sliders import Cut, Dimension, Panel, literal, make_panel
from curation.snapshot.manifest import Predicate


def with_predicates(source, **where):
    predicates = tuple(Predicate(name=name, sql=sql) for name, sql in where.items())
    content = source.manifest.content.model_copy(update={"where": predicates})
    return replace(source, manifest=source.manifest.model_copy(update={"content": content}))


def panel_of(source, **where) -> Panel:
    found = make_panel(with_predicates(source, **where), 20)
    assert found is not None
    return found


def test_thresholds_come_first_and_scores_follow(source):
    """Every column that a predicate compares has a slider; a score without one starts off."""
    panel = make_panel(source, 20)

    assert panel is not None
    names = [dimension.measure.name for dimension in panel.dimensions]
    assert names == ["inspect_width", "inspect_height", "aesthetic_score"]
    assert [slider.predicate for slider in panel.sliders] == ["size", "size", ""]
    assert panel.released == ("size",)
    width, _, score = panel.sliders
    assert panel.dimensions[0].cuts[width.stops[width.start or 0]] == Cut(64, is_behind=False)
    assert score.start is None


def test_a_predicate_that_is_no_threshold_stays(source):
    """It is part of what every count takes for granted."""
    panel = panel_of(source, odd="inspect_width % 2 = 1", size="inspect_width > 90")

    assert panel.released == ("size",)


def test_both_ends_of_a_column_move(source):
    """A range has two sliders over the same cuts, each with those of its own side."""
    panel = panel_of(source, span="inspect_width > 64 AND inspect_width < 1024")

    low, high = panel.sliders[:2]
    cuts = panel.dimensions[0].cuts
    assert (low.operator, high.operator) == (">", "<")
    assert low.is_lower
    assert not high.is_lower
    assert all(cuts[stop].is_behind for stop in low.stops)
    assert not any(cuts[stop].is_behind for stop in high.stops)
    assert cuts[low.stops[low.start or 0]] == Cut(64, is_behind=True)


def test_an_upper_end_alone_gets_a_lower_one_that_is_off(source):
    """Whoever asks for less may ask for more."""
    panel = panel_of(source, small="inspect_width <= 512")

    assert [(s.operator, s.predicate) for s in panel.sliders[:2]] == [(">=", ""), ("<=", "small")]


def test_columns_are_few(source):
    """A predicate that would need a fifth column stays as it is."""
    names = ["inspect_width", "inspect_height", "inspect_contrast", "inspect_entropy"]
    where = {f"p{n}": f"{name} >= 1" for n, name in enumerate(names)}

    panel = panel_of(source, **where, last="inspect_mean_luma >= 3", again="inspect_width < 4000")

    assert len(panel.dimensions) == 4
    assert panel.released == ("p0", "p1", "p2", "p3", "again")


def test_bins_are_those_of_the_comparisons(source):
    """SQL finds for every value the bin behind as many cuts as the value is."""
    cuts = tuple(Cut(value, behind) for value in (1.0, 2.5, 4.0) for behind in (False, True))
    measure = replace(panel_of(source).dimensions[0].measure, sql="v")
    dimension = Dimension(measure, cuts)
    values = "(0), (1), (1.5), (2.5), (3), (4), (9), (NULL)"

    with duck.connect() as connection:
        text = f"SELECT {dimension.bin_sql()} AS bin FROM (VALUES {values}) AS t(v)"
        found = duck.query(connection, text)["bin"].to_pylist()

    assert found == [1, 2, 3, 4, 5, 6, 7, 0]


@pytest.mark.parametrize(
    ("value", "text"), [(40.0, "40"), (0.3, "0.3"), (1e-7, "0.0000001"), (2e21, "2" + "0" * 21)]
)
def test_numbers_are_written_without_exponent(value, text):
    """SQL takes a number with an exponent for a double, and compares it otherwise."""
    assert literal(value) == text
