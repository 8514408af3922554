"""The two drawings of the long tail: flows from before to after, and size by rank."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from curation.report.categories import Categories, Category
from curation.report.category_names import CategoryNames
from curation.report.wording import fitting, printable

FLOW_WIDTH = 1200.0
_TOP, _BOTTOM = 26.0, 164.0
_STRIP = 26.0
FLOW_HEIGHT = _BOTTOM + _STRIP
_MAX_FLOWS = 160
_MARGIN = 10.0
"""Of a label and the edges of its strip, both together."""

_WIDE = 60.0
"""Room for a part that says something."""

_SHADES = 8

RANK_WIDTH, RANK_HEIGHT = 660.0, 290.0
_LEFT, _RIGHT, _ABOVE, _BELOW = 46.0, 12.0, 12.0, 34.0
_MAX_POINTS = 330
_DOTS = 130


@dataclass(frozen=True)
class Flow:
    """One category, or several small ones, as a ribbon between two strips.

    Attributes:
        path: The category; the largest of several.
        title: Its name and path, or how many there are.
        label_before: What of its name fits into the upper strip.
        label_after: What of it fits into the lower strip.
        before: Images.
        draws: Draws.
        shade: 0 at the head to 7 at the tail.
        x_before: Left edge in the upper strip.
        width_before: Width there.
        x_after: Left edge in the lower strip.
        width_after: Width there.
        ribbon: Path of the band between them.
    """

    path: str
    title: str
    label_before: str
    label_after: str
    before: int
    draws: int
    shade: int
    x_before: float
    width_before: float
    x_after: float
    width_after: float
    ribbon: str


@dataclass(frozen=True)
class Dot:
    """A category after, in the plot of size by rank; `is_lost` where nothing of it is left."""

    x: float
    y: float
    is_lost: bool
    label: str


@dataclass(frozen=True)
class RankPlot:
    """Size by rank, on a logarithmic scale of sizes.

    Attributes:
        area: Path of the sizes before, down to the axis.
        line: Points of the same, for a polyline.
        uniform: Points of what a uniform sample as large as the draws would have.
        after: Points of the draws, where there are too many categories for dots.
        dots: The draws of each category.
        x_ticks: (x, rank).
        y_ticks: (y, size).
    """

    area: str
    line: str
    uniform: str
    after: str
    dots: tuple[Dot, ...]
    x_ticks: tuple[tuple[float, int], ...]
    y_ticks: tuple[tuple[float, int], ...]
    left: float = _LEFT
    right: float = RANK_WIDTH - _RIGHT
    bottom: float = RANK_HEIGHT - _BELOW
    top: float = _ABOVE


def draw_flows(categories: Categories) -> tuple[Flow, ...]:
    """Lay out the ribbons, the largest category at the left; none where nothing was drawn."""
    if categories.after is None or not categories.after.total:
        return ()
    parts = _parts(categories)
    flows = []
    start = end = 0.0
    for number, (path, title, before, draws) in enumerate(parts):
        wide = FLOW_WIDTH * before / categories.before.total
        narrow = FLOW_WIDTH * draws / categories.after.total
        flows.append(
            Flow(
                path,
                title,
                _label(categories.names, path, wide),
                _label(categories.names, path, narrow),
                before,
                draws,
                min(_SHADES - 1, number * _SHADES // len(parts)),
                start,
                wide,
                end,
                narrow,
                _ribbon(start, start + wide, end, end + narrow),
            )
        )
        start, end = start + wide, end + narrow
    return tuple(flows)


def _parts(categories: Categories) -> list[tuple[str, str, int, int]]:
    """Return (path, title, before, draws) of the deepest level that has few enough categories."""
    leaves, names = categories.leaves, categories.names
    depth = max(leaf.path.count("/") for leaf in leaves) + 1
    parts = _level(leaves, depth)
    while len(parts) > _MAX_FLOWS and depth > 1:
        depth -= 1
        parts = _level(leaves, depth)
    if len(parts) <= _MAX_FLOWS:
        return [(path, names.title(path), before, draws) for path, before, draws in parts]
    # Neighbours in rank are joined, so that the tail keeps its share of the width.
    bounds = [number * len(parts) // _MAX_FLOWS for number in range(_MAX_FLOWS + 1)]
    joined = []
    for low, high in itertools.pairwise(bounds):
        group = parts[low:high]
        path = group[0][0]
        title = names.title(path)
        if len(group) > 1:
            title = f"{len(group)} categories from {title}"
        joined.append((path, title, sum(p[1] for p in group), sum(p[2] for p in group)))
    return joined


def _level(leaves: Sequence[Category], depth: int) -> list[tuple[str, int, int]]:
    """Return (path, before, draws) of the categories of a level, the largest first."""
    counts: dict[str, tuple[int, int]] = {}
    for leaf in leaves:
        path = "/".join(leaf.path.split("/", depth)[:depth])
        before, draws = counts.get(path, (0, 0))
        counts[path] = (before + leaf.before, draws + leaf.draws)
    return sorted(
        ((path, before, draws) for path, (before, draws) in counts.items()),
        key=lambda part: (-part[1], part[0]),
    )


def _label(names: CategoryNames, path: str, width: float) -> str:
    """Return the whole name where it fits, in a wide band else what fits of its own one."""
    room = width - _MARGIN
    whole = names.full(path)
    label = fitting(whole, room)
    if label == printable(whole):
        return label
    return fitting(names.own(path), room) if room >= _WIDE else ""


def _ribbon(a: float, b: float, c: float, d: float) -> str:
    """Return the band from [a, b] below the upper strip to [c, d] above the lower one."""
    top, bottom = _TOP + 2, _BOTTOM - 2
    middle = (top + bottom) / 2
    return (
        f"M{a:.2f} {top:.0f}C{a:.2f} {middle:.0f} {c:.2f} {middle:.0f} {c:.2f} {bottom:.0f}"
        f"L{d:.2f} {bottom:.0f}C{d:.2f} {middle:.0f} {b:.2f} {middle:.0f} {b:.2f} {top:.0f}Z"
    )


def draw_ranks(categories: Categories) -> RankPlot:
    """Lay out size by rank."""
    leaves = categories.leaves
    after = categories.after
    most = max(categories.most_before, categories.most_draws)
    least = 1.0
    if after is not None and after.total:
        least = min(least, leaves[-1].before * after.total / categories.before.total)
    y_high, y_low = math.log10(most) + 0.06, math.log10(max(least, 0.05)) - 0.1
    bottom, right = RANK_HEIGHT - _BELOW, RANK_WIDTH - _RIGHT

    def x_of(rank: float) -> float:
        return _LEFT + (rank - 0.5) / len(leaves) * (right - _LEFT)

    def y_of(size: float) -> float:
        share = (math.log10(size) - y_low) / (y_high - y_low) if size > 0 else 0.0
        return bottom - max(0.0, share) * (bottom - _ABOVE)

    points = _thinned(leaves)
    sizes = [(x_of(rank), y_of(before)) for rank, before, _ in points]
    left_edge, right_edge = x_of(0.5), x_of(len(leaves) + 0.5)
    line = [(left_edge, sizes[0][1]), *sizes, (right_edge, sizes[-1][1])]
    area = f"M{left_edge:.1f} {bottom:.1f}L" + "L".join(f"{x:.1f} {y:.1f}" for x, y in line)
    uniform: list[tuple[float, float]] = []
    drawn: list[tuple[float, float]] = []
    dots: list[Dot] = []
    if after is not None and after.total:
        share = after.total / categories.before.total
        ends = [points[0][1], *(before for _, before, _ in points), points[-1][1]]
        uniform = [(x, y_of(n * share)) for (x, _), n in zip(line, ends, strict=True)]
        if len(leaves) <= _DOTS:
            dots = [
                Dot(
                    x_of(leaf.rank),
                    y_of(leaf.draws),
                    leaf.draws == 0,
                    f"{categories.names.title(leaf.path)}: {leaf.before:,} to {leaf.draws:,}",
                )
                for leaf in leaves
            ]
        else:
            drawn = [(x_of(rank), y_of(draws)) for rank, _, draws in points]
    return RankPlot(
        f"{area}L{right_edge:.1f} {bottom:.1f}Z",
        _points(line),
        _points(uniform),
        _points(drawn),
        tuple(dots),
        tuple((x_of(rank), rank) for rank in _rank_ticks(len(leaves))),
        tuple((y_of(size), size) for size in _size_ticks(most)),
    )


def _thinned(leaves: Sequence[Category]) -> list[tuple[float, float, float]]:
    """Return (rank, before, draws), means of neighbours where there are too many categories."""
    count = min(len(leaves), _MAX_POINTS)
    points = []
    for number in range(count):
        low, high = number * len(leaves) // count, (number + 1) * len(leaves) // count
        group = leaves[low:high]
        points.append(
            (
                (low + high + 1) / 2,
                sum(leaf.before for leaf in group) / len(group),
                sum(leaf.draws for leaf in group) / len(group),
            )
        )
    return points


def _rank_ticks(count: int) -> list[int]:
    step = 10 ** max(0, math.floor(math.log10(max(count, 2) / 2)))
    step = next(step * f for f in (1, 2, 5, 10) if count / (step * f) <= 6)
    return [1, *(n for n in range(step, count + 1, step) if n > 1)]


def _size_ticks(most: int) -> list[int]:
    digits = (1, 2, 5) if most < 200 else (1, 3) if most < 20_000 else (1,)
    powers = range(math.ceil(math.log10(most)) + 1 if most > 1 else 1)
    return [d * 10**p for p in powers for d in digits if d * 10**p <= most * 1.1]


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
