"""Histograms of everything that stages measured: all rows, and those that are kept.

Nothing but counts in fine bins with fixed edges leaves DuckDB; a drawing joins them to coarse ones.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from curation.report.measures import Counts, Measure, count_measures, find_measures
from curation.report.scales import ZERO_BIN, Scale, inner_range
from curation.report.source import Source
from curation.report.thresholds import Threshold, find_thresholds
from curation.report.wording import tick

WIDTH = 300.0
"""Of the plot area, in units of the drawing."""

HEIGHT = 88.0
EDGE = 15.0
"""Labels nearer than this to an edge of the plot begin or end at their tick."""

_LETTER = 6.2
"""About the width of a letter of a label."""

_MAX_BARS = 44
_FACTORS = (1, 2, 3, 4, 6, 8, 12, 24, 30, 40, 48, 60, 80, 120, 240, 480, 960)
"""How many fine bins a bar may join."""

_OUTLIERS = 0.005
"""Share of the rows, at either end, that the first and the last bar may take in from afar."""


@dataclass(frozen=True)
class Bar:
    """A bar; shares are of the tallest bar of either series.

    Attributes:
        x: Left edge in the drawing.
        width: In the drawing.
        low: Lower edge, as a value.
        high: Upper edge; equal to `low` for a bar of one whole number or of zero.
        num_all: Rows.
        num_kept: Rows that are kept.
        all_height: In the drawing.
        kept_height: In the drawing.
    """

    x: float
    width: float
    low: float
    high: float
    num_all: int
    num_kept: int
    all_height: float
    kept_height: float


@dataclass(frozen=True)
class Mark:
    """A threshold in the drawing: `x`, and the part of the plot that it leaves out."""

    threshold: Threshold
    x: float
    out_x: float
    out_width: float


@dataclass(frozen=True)
class Histogram:
    """A drawn histogram.

    Attributes:
        measure: What it is of.
        bars: From left to right.
        marks: Thresholds of predicates.
        ticks: (x, value) of the axis.
        num_all: Rows with a value.
        num_kept: Rows kept with a value.
        median_all: About the median of all rows.
        median_kept: About that of those kept; null where none is.
        kept_line: Outline of the kept series, for a polyline.
    """

    measure: Measure
    bars: tuple[Bar, ...]
    marks: tuple[Mark, ...]
    ticks: tuple[tuple[float, float], ...]
    num_all: int
    num_kept: int
    median_all: float
    median_kept: float | None
    kept_line: str


@dataclass(frozen=True)
class Histograms:
    """All histograms, and the columns that are not worth one.

    Attributes:
        drawn: Those with more than one value.
        constant: (column, value) where every row has the same.
    """

    drawn: tuple[Histogram, ...]
    constant: tuple[tuple[Measure, float], ...]


def make_histograms(source: Source) -> Histograms:
    """Count and draw."""
    measures = find_measures(source)
    counts = count_measures(source, measures)
    limits = {} if source.manifest is None else find_thresholds(source.manifest.content.where)
    drawn, constant = [], []
    for measure in measures:
        found = counts.get(measure.name, Counts({}, {}))
        if len(found.all) > 1:
            drawn.append(draw(measure, found, limits.get(measure.name, [])))
        elif found.all:
            constant.append((measure, measure.scale.middle(next(iter(found.all)))))
    return Histograms(tuple(drawn), tuple(constant))


def draw(measure: Measure, counts: Counts, thresholds: Sequence[Threshold]) -> Histogram:
    """Join fine bins to at most `_MAX_BARS` bars and lay them out.

    Each series is scaled to its own total, so that the drawing compares shapes, not sizes; the
    counts stand beside it.
    """
    scale = measure.scale
    low, high = _bounds(scale, counts.all, thresholds)
    factor = next(f for f in _FACTORS if high // f - low // f < _MAX_BARS or f == _FACTORS[-1])
    first, last = low // factor, high // factor
    has_zero = ZERO_BIN in counts.all
    places = list(range(first - 2 if has_zero else first, last + 1))
    joined_all = _join(counts.all, factor, first, last)
    joined_kept = _join(counts.kept, factor, first, last)
    ends = [b for b in counts.all if b != ZERO_BIN] or [0]
    num_all, num_kept = sum(joined_all.values()), sum(joined_kept.values())
    tallest = max(
        max(joined_all.values()) / num_all,
        max(joined_kept.values()) / num_kept if num_kept else 0.0,
    )
    step = WIDTH / len(places)
    bars = []
    for number, place in enumerate(places):
        one, two = joined_all.get(place, 0), joined_kept.get(place, 0)
        start, stop = scale.edge(place * factor), scale.edge((place + 1) * factor)
        if place == first:
            start = min(start, scale.edge(min(ends)))
        if place == last:
            stop = max(stop, scale.edge(max(ends) + 1))
        if has_zero and place < first:
            start = stop = 0.0
        elif scale.kind == "whole" and factor == 1:
            stop = start
        bars.append(
            Bar(
                x=number * step,
                width=step,
                low=start,
                high=stop,
                num_all=one,
                num_kept=two,
                all_height=HEIGHT * one / num_all / tallest,
                kept_height=HEIGHT * two / num_kept / tallest if num_kept else 0.0,
            )
        )
    origin = places[0] * factor

    def x_of(position: float) -> float:
        return (position - origin) / factor * step

    middle = 0.5 if scale.kind == "whole" and factor == 1 else 0.0
    ticks = [
        (x_of(scale.position(value) + middle), value)
        for value in scale.ticks(first * factor, (last + 1) * factor, measure.unit)
    ]
    if has_zero:
        ticks = [(step / 2, 0.0), *ticks]
    return Histogram(
        measure,
        tuple(bars),
        tuple(_marks(scale, thresholds, x_of)),
        tuple(_apart(((x, value) for x, value in ticks if 0 <= x <= WIDTH), measure.unit)),
        num_all,
        num_kept,
        _median(scale, counts.all),
        _median(scale, counts.kept) if num_kept else None,
        _outline(bars),
    )


def _bounds(
    scale: Scale, counts: Mapping[int, int], thresholds: Sequence[Threshold]
) -> tuple[int, int]:
    """Return the fine bins between which all but a few outliers, and near thresholds, lie."""
    found = inner_range(counts, 0.0 if scale.kind == "whole" else _OUTLIERS)
    if found is None:
        return 0, 0
    low, high = found
    span = high - low + 1
    for threshold in thresholds:
        at = scale.position(threshold.value)
        if low - span <= at < low:
            low = math.floor(at) - span // 20
        elif high < at <= high + span:
            high = math.ceil(at) + span // 20
    return (max(low, 0), high) if scale.kind != "log" else (low, high)


def _join(counts: Mapping[int, int], factor: int, first: int, last: int) -> dict[int, int]:
    joined: dict[int, int] = {}
    for place, count in counts.items():
        target = first - 2 if place == ZERO_BIN else min(max(place // factor, first), last)
        joined[target] = joined.get(target, 0) + count
    return joined


def _marks(
    scale: Scale, thresholds: Sequence[Threshold], x_of: Callable[[float], float]
) -> list[Mark]:
    marks = []
    for threshold in thresholds:
        # A whole number that may stay, or must not, begins at the edge before or behind its bar.
        behind = scale.kind == "whole" and threshold.operator in (">", "<=")
        x = x_of(scale.position(threshold.value + behind))
        x = min(max(x, 0.0), WIDTH)
        out = (0.0, x) if threshold.is_lower else (x, WIDTH - x)
        marks.append(Mark(threshold, x, *out))
    return marks


def _apart(ticks: Iterable[tuple[float, float]], unit: str) -> Iterator[tuple[float, float]]:
    """Leave out ticks whose labels would touch the one before; those at the edges lie inside."""
    end = -math.inf
    for x, value in ticks:
        length = len(tick(value, unit)) * _LETTER
        start = x if x < EDGE else x - length if x > WIDTH - EDGE else x - length / 2
        if start > end + _LETTER:
            end = start + length
            yield x, value


def _median(scale: Scale, counts: Mapping[int, int]) -> float:
    """Return the value at the middle of the fine bin that holds the median row."""
    half = (sum(counts.values()) + 1) // 2
    seen = 0
    for place in sorted(counts):
        seen += counts[place]
        if seen >= half:
            return scale.middle(place)
    raise AssertionError("no counts")


def _outline(bars: Sequence[Bar]) -> str:
    """Return the steps of the kept series as points of a polyline."""
    points = [(bars[0].x, HEIGHT)]
    for bar in bars:
        top = HEIGHT - bar.kept_height
        points += [(bar.x, top), (bar.x + bar.width, top)]
    points.append((bars[-1].x + bars[-1].width, HEIGHT))
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
