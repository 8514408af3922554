"""Treemaps of the categories, before and after: an area is a share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from curation.report.categories import Categories, Category
from curation.report.category_names import CategoryNames
from curation.report.wording import fitting

WIDTH, HEIGHT = 580.0, 340.0
MOST_GROUPS = 100
"""Categories right below the root that have a rectangle; smaller ones share one."""

MOST_INSIDE = 24
"""Categories of one group that have a rectangle; smaller ones share one."""

MOST_LEVELS = 4
"""Levels that are drawn; what lies deeper lies flat in the last one."""

_HEAD = 15.0
"""Height of a group's own label."""

_BOLD = 1.12
"""How much wider the letters of the first level's groups are."""

_LEAST_GROUP = 40.0
"""Sides below which a group is shown as one box: smaller ones in it would be dust."""

_TINT_STEPS = (0.5, 0.8, 0.95, 1.05, 1.25, 2.0)
"""Ratios of shares at which the tint changes."""

NUM_TINTS = len(_TINT_STEPS) + 1


_Area = tuple[float, float, float, float]
"""x, y, width and height."""


@dataclass(frozen=True)
class Box:
    """A rectangle.

    Attributes:
        path: The category, or how many share it.
        title: Its name and path.
        label: What fits of its own name; empty where nothing does.
        before: Images before.
        draws: Draws after.
        tint: 0 for a share that shrank most to `NUM_TINTS - 1` for one that grew most.
        x: Left edge.
        y: Upper edge.
        width: In units of the drawing.
        height: Likewise.
        is_group: Whether further boxes lie on it.
        level: 1 right below the root; how many boxes it lies in otherwise, and one.
    """

    path: str
    title: str
    label: str
    before: int
    draws: int
    tint: int
    x: float
    y: float
    width: float
    height: float
    is_group: bool = False
    level: int = 1


@dataclass(frozen=True)
class _Node:
    path: str
    title: str
    name: str
    before: int
    draws: int
    inside: tuple["_Node", ...] = ()


@dataclass(frozen=True)
class Treemaps:
    """Both maps; `after` is empty where nothing was drawn. Boxes lie in the same order in both."""

    before: tuple[Box, ...]
    after: tuple[Box, ...]


def draw_treemaps(categories: Categories) -> Treemaps:
    """Lay out both maps."""
    nodes = _nodes(categories.leaves, categories.names)
    after = categories.after
    scale = categories.before.total / after.total if after is not None and after.total else 0.0
    place = _Placer(scale)
    drawn: tuple[Box, ...] = ()
    if scale:
        drawn = tuple(place.boxes(nodes, lambda node: node.draws))
    return Treemaps(tuple(place.boxes(nodes, lambda node: node.before)), drawn)


class _Placer:
    """Puts boxes into the drawing; `scale` turns draws into images before."""

    def __init__(self, scale: float) -> None:
        self._scale = scale

    def boxes(self, nodes: Sequence[_Node], size: Callable[[_Node], int]) -> list[Box]:
        """Return the boxes of the whole drawing, each before those that lie on it."""
        return self._inside(nodes, size, (0.0, 0.0, WIDTH, HEIGHT), 1)

    def _inside(
        self, nodes: Sequence[_Node], size: Callable[[_Node], int], whole: _Area, level: int
    ) -> list[Box]:
        found: list[Box] = []
        for node, area in _placed(nodes, size, whole):
            x, y, width, height = area
            is_group = bool(node.inside) and min(width, height) > _LEAST_GROUP
            found.append(self._box(node, area, is_group, level))
            if is_group:
                inner = (x + 2, y + _HEAD, width - 4, height - _HEAD - 2)
                found += self._inside(node.inside, size, inner, level + 1)
        return found

    def _box(self, node: _Node, area: _Area, is_group: bool, level: int) -> Box:
        _, _, width, height = area
        room = (width - 8) / (_BOLD if is_group and level == 1 else 1)
        label = fitting(node.name, room) if height > _HEAD - 1 else ""
        tint = NUM_TINTS // 2
        if self._scale and node.before:
            ratio = node.draws * self._scale / node.before
            tint = sum(ratio >= step for step in _TINT_STEPS)
        counts = (node.before, node.draws)
        return Box(node.path, node.title, label, *counts, tint, *area, is_group, level)


def squarify(sizes: Sequence[float], area: _Area) -> list[_Area]:
    """Divide a rectangle into parts as near to squares as a greedy choice makes them.

    Args:
        sizes: Positive; in any order, which is kept.
        area: x, y, width and height of the whole.

    Returns:
        x, y, width and height of each part, in the order of `sizes`.

    Source: Bruls, Huizing and van Wijk, Squarified Treemaps (2000). They sort by size; we do not,
    so that a part lies at about the same place in two maps.
    """
    x, y, width, height = area
    left = float(sum(sizes))
    found: list[_Area] = []
    start = 0
    while start < len(sizes):
        short = min(width, height)
        unit = width * height / left
        stop = start + 1
        while stop < len(sizes) and _worst(sizes[start : stop + 1], short, unit) <= _worst(
            sizes[start:stop], short, unit
        ):
            stop += 1
        row = sizes[start:stop]
        depth = sum(row) * unit / short
        along = 0.0
        for size in row:
            length = size * unit / depth
            is_column = width >= height
            found.append(
                (x, y + along, depth, length) if is_column else (x + along, y, length, depth)
            )
            along += length
        if width >= height:
            x, width = x + depth, max(width - depth, 1e-9)
        else:
            y, height = y + depth, max(height - depth, 1e-9)
        left -= sum(row)
        start = stop
    return found


def _worst(row: Sequence[float], short: float, unit: float) -> float:
    """Return the longest ratio of sides in a row."""
    depth = sum(row) * unit / short
    return max(max(depth * depth / (s * unit), s * unit / (depth * depth)) for s in row)


def _placed(
    nodes: Sequence[_Node],
    size: Callable[[_Node], int],
    area: _Area,
) -> list[tuple[_Node, _Area]]:
    seen = [node for node in nodes if size(node) > 0]
    return list(zip(seen, squarify([size(node) for node in seen], area), strict=True))


def _nodes(leaves: Sequence[Category], names: CategoryNames, depth: int = 1) -> tuple[_Node, ...]:
    """Return the categories of a level with those in them, the largest first."""

    def above(leaf: Category) -> str:
        return "/".join(leaf.path.split("/", depth)[:depth])

    nodes = []
    for path, group in groupby(sorted(leaves, key=above), key=above):
        members = list(group)
        is_leaf = len(members) == 1 and members[0].path == path
        inside = () if is_leaf else _inner(members, names, depth)
        before, draws = sum(m.before for m in members), sum(m.draws for m in members)
        nodes.append(_Node(path, names.title(path), names.own(path), before, draws, inside))
    nodes.sort(key=lambda node: (-node.before, node.path))
    return _few(nodes, MOST_GROUPS if depth == 1 else MOST_INSIDE)


def _inner(members: Sequence[Category], names: CategoryNames, depth: int) -> tuple[_Node, ...]:
    if depth + 1 < MOST_LEVELS:
        return _nodes(members, names, depth + 1)
    found = [
        _Node(m.path, names.title(m.path), names.own(m.path), m.before, m.draws)
        for m in sorted(members, key=lambda leaf: leaf.rank)
    ]
    return _few(found, MOST_INSIDE)


def _few(nodes: Sequence[_Node], most: int) -> tuple[_Node, ...]:
    if len(nodes) <= most:
        return tuple(nodes)
    rest = nodes[most - 1 :]
    name = f"{len(rest):,} smaller"
    words = f"{name} categories"
    before, draws = sum(n.before for n in rest), sum(n.draws for n in rest)
    return (*nodes[: most - 1], _Node(words, words, name, before, draws))
