"""Areas of a treemap are shares, and lie beside each other."""

import random
from dataclasses import replace

import pytest

from curation.report.categories import Categories, Category, measure_spread
from curation.report.category_names import CategoryNames
from curation.report.treemap import (
    HEIGHT,
    MOST_GROUPS,
    MOST_LEVELS,
    NUM_TINTS,
    WIDTH,
    draw_treemaps,
    squarify,
)


def categories(counts):
    order = sorted(counts, key=lambda path: -counts[path][0])
    leaves = tuple(
        Category(path, rank, counts[path][0], counts[path][1], counts[path][1])
        for rank, path in enumerate(order, start=1)
    )
    before = measure_spread([leaf.before for leaf in leaves])
    after = measure_spread([leaf.draws for leaf in leaves])
    return Categories(leaves, before, after, True, leaves, (), (), 0)


def test_parts_have_their_areas_and_do_not_overlap():
    """Of any sizes, in any order, the parts fill the whole."""
    draw = random.Random(1)
    sizes = [draw.randint(1, 500) for _ in range(40)]

    parts = squarify(sizes, (0, 0, 300, 200))

    for size, (_, _, width, height) in zip(sizes, parts, strict=True):
        assert width * height == pytest.approx(60_000 * size / sum(sizes))
    for number, (x, y, width, height) in enumerate(parts):
        assert x >= -1e-6
        assert y >= -1e-6
        assert x + width <= 300 + 1e-6
        assert y + height <= 200 + 1e-6
        for other_x, other_y, other_width, other_height in parts[:number]:
            across = min(x + width, other_x + other_width) - max(x, other_x)
            down = min(y + height, other_y + other_height) - max(y, other_y)
            assert across <= 1e-6 or down <= 1e-6


def test_equal_parts_are_nearly_squares():
    """No part is more than twice as long as wide."""
    for _, _, width, height in squarify([1] * 24, (0, 0, 580, 340)):
        assert 0.5 <= width / height <= 2


def test_a_flat_tree_has_one_box_a_category():
    """The largest comes first, and its tint says that it shrank."""
    maps = draw_treemaps(categories({"a": (900, 30), "b": (90, 30), "c": (10, 30), "d": (1, 0)}))

    assert [box.path for box in maps.before] == ["a", "b", "c", "d"]
    assert [box.path for box in maps.after] == ["a", "b", "c"]
    assert maps.before[0].tint == 0
    assert maps.before[2].tint == NUM_TINTS - 1
    whole = sum(box.width * box.height for box in maps.after)
    assert whole == pytest.approx(WIDTH * HEIGHT)


def test_a_nested_tree_has_boxes_in_boxes():
    """Those of a group lie on the group's box, below its label."""
    maps = draw_treemaps(categories({"x/a": (50, 5), "x/b": (30, 5), "y": (20, 5)}))

    group, first, second, other = maps.before
    assert (group.path, group.is_group, group.label) == ("x", True, "x")
    assert (first.label, second.label, other.label) == ("a", "b", "y")
    assert group.before == 80
    for box in (first, second):
        assert group.x <= box.x
        assert group.y + 14 <= box.y
        assert box.y + box.height <= group.y + group.height


def test_every_level_has_its_boxes_with_names():
    """Boxes are labelled by their own names; titles have the whole name and the path."""
    names = CategoryNames(
        {"a": "web", "a/p": "web/page", "a/p/x": "web/page/chart", "a/p/y": "web/page/map"}
    )
    counts = {"a/p/x": (50, 5), "a/p/y": (30, 5), "a/q/z": (20, 9), "b": (10, 5)}

    maps = draw_treemaps(replace(categories(counts), names=names))

    assert [(box.path, box.label, box.level, box.is_group) for box in maps.before] == [
        ("a", "web", 1, True),
        ("a/p", "page", 2, True),
        ("a/p/x", "chart", 3, False),
        ("a/p/y", "map", 3, False),
        ("a/q", "q", 2, True),
        ("a/q/z", "z", 3, False),
        ("b", "b", 1, False),
    ]
    assert [box.title for box in maps.before[1:3]] == ["web/page (a/p)", "web/page/chart (a/p/x)"]
    assert maps.before[4].title == "a/q"


def test_what_is_very_deep_lies_flat():
    """However deep a path, the boxes in boxes are few."""
    maps = draw_treemaps(categories({"/".join("a" * 3000): (5, 1), "/".join("b" * 3000): (4, 1)}))

    assert max(box.level for box in maps.before) == MOST_LEVELS
    assert maps.before[0].path == "a"


def test_images_of_an_inner_node_are_a_box_in_it():
    """A path with others below it is neither lost nor drawn for ever."""
    maps = draw_treemaps(categories({"a": (60, 5), "a/x": (40, 5), "b/": (30, 5), "b/y": (9, 9)}))

    paths = [box.path for box in maps.before]
    assert paths == ["a", "a", "a/x", "b", "b/", "b/y"]
    assert [box.before for box in maps.before] == [100, 60, 40, 39, 30, 9]


def test_many_categories_share_a_box():
    """Ten thousand categories are no more boxes than can be told apart."""
    maps = draw_treemaps(categories({f"c{n:05d}": (20_000 - n, 1) for n in range(10_000)}))

    assert len(maps.before) == MOST_GROUPS
    assert maps.before[-1].path == f"{10_000 - MOST_GROUPS + 1:,} smaller categories"
    assert sum(box.before for box in maps.before) == sum(20_000 - n for n in range(10_000))


def test_long_names_are_cut():
    """A label stays within its box."""
    maps = draw_treemaps(categories({"n" * 200: (1, 1), "m" * 200: (1, 1)}))

    assert maps.before[0].label.endswith("…")
    assert len(maps.before[0].label) < 60


def test_without_draws_there_is_no_second_map():
    """A snapshot that keeps nothing has a map of what there was."""
    assert draw_treemaps(categories({"a": (3, 0), "b": (2, 0)})).after == ()
