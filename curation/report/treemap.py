"""Treemaps of the categories, before and after: an area is a share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from curation.report.categories import Categories, Category

WIDTH, HEIGHT = 580.0, 340.0
MOST_GROUPS = 100
"""Names right below the root that have a rectangle; smaller ones share one."""

MOST_INSIDE = 24
"""Categories of one group that have a rectangle; smaller ones share one."""

_HEAD = 15.0
"""Height of a group's own label."""

_LEAST_GROUP = 40.0
"""Sides below which a group is shown as one box: smaller ones in it would be dust."""

_TINT_STEPS = (0.5, 0.8, 0.95, 1.05, 1.25, 2.0)
"""Ratios of shares at which the tint changes."""

NUM_TINTS = len(_TINT_STEPS) + 1
_LETTER = 6.3
"""About the width of a letter of a label."""


@dataclass(frozen=True)
class Box:
    """A rectangle.

    Attributes:
        path: The category, or how many share it.
        label: What fits of its name; empty where nothing does.
        before: Images before.
        draws: Draws after.
        tint: 0 for a share that shrank most to `NUM_TINTS - 1` for one that grew most.
        x: Left edge.
        y: Upper edge.
        width: In units of the drawing.
        height: Likewise.
        is_group: Whether further boxes lie on it.
    """

    path: str
    label: str
    before: int
    draws: int
    tint: int
    x: float
    y: float
    width: float
    height: float
    is_group: bool = False


@dataclass(frozen=True)
class _Node:
    path: str
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
    nodes = _nodes(categories.leaves)
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
        found: list[Box] = []
        for node, area in _placed(nodes, size, (0.0, 0.0, WIDTH, HEIGHT)):
            x, y, width, height = area
            is_group = bool(node.inside) and min(width, height) > _LEAST_GROUP
            found.append(self._box(node, area, is_group))
            if is_group:
                inner = (x + 2, y + _HEAD, width - 4, height - _HEAD - 2)
                found += [self._box(n, a, False) for n, a in _placed(node.inside, size, inner)]
        return found

    def _box(self, node: _Node, area: tuple[float, float, float, float], is_group: bool) -> Box:
        x, y, width, height = area
        label = _fitting(node.name, width - 8) if height > _HEAD - 1 else ""
        tint = NUM_TINTS // 2
        if self._scale and node.before:
            ratio = node.draws * self._scale / node.before
            tint = sum(ratio >= step for step in _TINT_STEPS)
        return Box(node.path, label, node.before, node.draws, tint, x, y, width, height, is_group)


def squarify(
    sizes: Sequence[float], area: tuple[float, float, float, float]
) -> list[tuple[float, float, float, float]]:
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
    found: list[tuple[float, float, float, float]] = []
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
    area: tuple[float, float, float, float],
) -> list[tuple[_Node, tuple[float, float, float, float]]]:
    seen = [node for node in nodes if size(node) > 0]
    return list(zip(seen, squarify([size(node) for node in seen], area), strict=True))


def _nodes(leaves: Sequence[Category]) -> tuple[_Node, ...]:
    """Return the names right below the root with the categories in them, the largest first."""
    ordered = sorted(leaves, key=lambda leaf: leaf.top)
    groups = []
    for top, members in groupby(ordered, key=lambda leaf: leaf.top):
        inside = [
            _Node(leaf.path, leaf.path.removeprefix(f"{top}/") or top, leaf.before, leaf.draws)
            for leaf in sorted(members, key=lambda leaf: leaf.rank)
        ]
        is_leaf = len(inside) == 1 and inside[0].path == top
        groups.append(_joined(top, top, inside, () if is_leaf else _few(inside, MOST_INSIDE)))
    return _few(sorted(groups, key=lambda node: (-node.before, node.path)), MOST_GROUPS)


def _few(nodes: Sequence[_Node], most: int) -> tuple[_Node, ...]:
    if len(nodes) <= most:
        return tuple(nodes)
    rest = nodes[most - 1 :]
    name = f"{len(rest):,} smaller"
    return (*nodes[: most - 1], _joined(f"{name} categories", name, rest, ()))


def _joined(path: str, name: str, nodes: Sequence[_Node], inside: tuple[_Node, ...]) -> _Node:
    before, draws = sum(n.before for n in nodes), sum(n.draws for n in nodes)
    return _Node(path, name, before, draws, inside)


def _fitting(name: str, width: float) -> str:
    """Return what of a name fits: all of it, its beginning, or nothing."""
    room = int(width / _LETTER)
    if len(name) <= room:
        return name
    return f"{name[: room - 1]}…" if room >= 4 else ""
