"""The drawings of the long tail."""

from dataclasses import replace

import pytest

from curation.report.categories import Categories, Category, measure_spread
from curation.report.category_names import CategoryNames
from curation.report.tail_plots import FLOW_WIDTH, RANK_HEIGHT, RANK_WIDTH, draw_flows, draw_ranks


def categories(counts):
    """Make categories from (path, before, draws), the largest first."""
    leaves = tuple(
        Category(path, rank, before, min(before, draws), draws)
        for rank, (path, before, draws) in enumerate(counts, start=1)
    )
    before = measure_spread([leaf.before for leaf in leaves])
    after = measure_spread([leaf.draws for leaf in leaves])
    return Categories(leaves, before, after, True, leaves, (), (), 0)


FEW = categories([("a/x", 60, 12), ("b", 30, 10), ("a/y", 9, 8), ("c", 1, 0)])
MANY = categories([(f"c{n:05d}", 20_000 // (n + 1) + 1, 40 // (n + 1) + 1) for n in range(6000)])


def test_strips_are_filled_by_shares():
    """Both strips are as wide as the drawing, and bands are as many as there are leaves."""
    flows = draw_flows(FEW)

    assert [(f.path, f.before, f.draws) for f in flows] == [
        ("a/x", 60, 12),
        ("b", 30, 10),
        ("a/y", 9, 8),
        ("c", 1, 0),
    ]
    assert flows[0].width_before == pytest.approx(FLOW_WIDTH * 0.6)
    assert sum(f.width_before for f in flows) == pytest.approx(FLOW_WIDTH)
    assert sum(f.width_after for f in flows) == pytest.approx(FLOW_WIDTH)


def test_too_many_leaves_are_shown_by_the_deepest_level_that_is_small_enough():
    """Categories stand for what is below them."""
    made = categories([(f"c{n % 2}/{n % 20}/{n:03d}", 300 - n, 1) for n in range(200)])

    flows = draw_flows(made)

    assert len(flows) == 20
    assert {f.path.count("/") for f in flows} == {1}
    assert sum(f.before for f in flows) == made.before.total


def test_bands_say_names_that_fit_and_titles_say_all():
    """A wide band has the whole name, a middling one its last part, a narrow one nothing."""
    names = CategoryNames({"a/x": "web page/chart", "a/y": "web page/" + "long " * 30, "b": "cats"})
    made = replace(categories([("a/x", 880, 110), ("a/y", 80, 80), ("b", 10, 900)]), names=names)

    wide, middling, narrow = draw_flows(made)

    assert (wide.label_before, wide.title) == ("web page/chart", "web page/chart (a/x)")
    assert middling.label_before.startswith("long")
    assert middling.label_before.endswith("…")
    assert middling.title == f"web page/{'long ' * 30} (a/y)"
    assert (narrow.label_before, narrow.label_after) == ("", "cats")
    assert draw_ranks(made).dots[0].label == "web page/chart (a/x): 880 to 110"


def test_drawings_do_not_grow_with_the_number_of_categories():
    """Neighbours in rank are joined; nothing is lost."""
    flows, ranks = draw_flows(MANY), draw_ranks(MANY)

    assert len(flows) == 160
    assert sum(f.before for f in flows) == MANY.before.total
    assert sum(f.draws for f in flows) == MANY.after.total
    assert len(ranks.line.split()) < 400
    assert ranks.dots == ()
    assert ranks.after


def test_points_stay_inside_the_plot():
    """Whatever the counts, nothing is drawn outside."""
    for made in (FEW, MANY, categories([("only", 1, 1)]), categories([("a", 5, 0), ("b", 0, 0)])):
        ranks = draw_ranks(made)
        points = [
            tuple(map(float, p.split(","))) for p in (ranks.line + " " + ranks.uniform).split()
        ]
        points += [(dot.x, dot.y) for dot in ranks.dots]
        assert all(0 <= x <= RANK_WIDTH and 0 <= y <= RANK_HEIGHT for x, y in points)


def test_a_category_of_which_nothing_is_left_is_marked():
    """It lies on the axis, as lost."""
    ranks = draw_ranks(FEW)

    assert [dot.is_lost for dot in ranks.dots] == [False, False, False, True]
    assert ranks.dots[-1].y == ranks.bottom


def test_a_uniform_sample_has_the_same_proportions():
    """Of one category of a hundred with a tenth drawn, it would have ten."""
    made = categories([("a", 100, 10)])

    ranks = draw_ranks(made)

    assert ranks.uniform.split()[0].split(",")[1] == f"{ranks.dots[0].y:.1f}"


def test_without_a_snapshot_only_sizes_are_drawn():
    """There are no flows, dots or uniform sample."""
    made = replace(FEW, after=None)

    assert draw_flows(made) == ()
    assert draw_ranks(made).dots == ()
    assert draw_ranks(made).uniform == ""
