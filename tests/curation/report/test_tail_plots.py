"""The drawings of the long tail."""

from dataclasses import replace

import pytest

from curation.report.categories import Categories, Category, measure_spread
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
    """Both strips are as wide as the drawing, and top categories stand for what is below them."""
    flows = draw_flows(FEW)

    assert [(f.label, f.before, f.draws) for f in flows] == [
        ("a", 69, 20),
        ("b", 30, 10),
        ("c", 1, 0),
    ]
    assert flows[0].width_before == pytest.approx(FLOW_WIDTH * 0.69)
    assert sum(f.width_before for f in flows) == pytest.approx(FLOW_WIDTH)
    assert sum(f.width_after for f in flows) == pytest.approx(FLOW_WIDTH)


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
