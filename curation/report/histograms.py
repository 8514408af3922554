"""Histograms of everything that stages measured: all rows, and those that are kept.

All columns are counted in one scan, into fine bins with fixed edges, so nothing but counts leaves
DuckDB; a drawing joins fine bins to coarse ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from curation import duck
from curation.report.scales import ZERO_BIN, Scale, choose_scale
from curation.report.source import Source
from curation.report.thresholds import Threshold, find_thresholds
from schemas import dataset as layout

WIDTH = 300.0
"""Of the plot area, in units of the drawing."""

HEIGHT = 88.0
_MAX_BARS = 44
_FACTORS = (1, 2, 3, 4, 6, 8, 12, 24, 30, 40, 48, 60, 80, 120, 240, 480, 960)
"""How many fine bins a bar may join."""

_AHEAD = ("area_mp", "aspect_ratio")


@dataclass(frozen=True)
class Measure:
    """What a histogram is of.

    Attributes:
        name: Column on disk, or the name of what is derived from columns.
        doc: What it is.
        unit: Its unit.
        sql: Expression over `r`.
        scale: Its bins.
    """

    name: str
    doc: str
    unit: str
    sql: str
    scale: Scale


@dataclass(frozen=True)
class Counts:
    """Fine bin -> rows, for all rows and for those kept."""

    all: Mapping[int, int]
    kept: Mapping[int, int]


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
            constant.append((measure, _value(measure.scale, next(iter(found.all)))))
    return Histograms(tuple(drawn), tuple(constant))


def find_measures(source: Source) -> list[Measure]:
    """List what there are histograms of: numbers with a unit, and sizes derived from two."""
    found = []
    width, height = source.column("inspect", "width"), source.column("inspect", "height")
    if width is not None and height is not None:
        wide, tall = f"r.{duck.quoted(width)}::DOUBLE", f"r.{duck.quoted(height)}::DOUBLE"
        found = [
            Measure("area_mp", "Width times height.", "MP", f"{wide} * {tall} / 1e6", Scale("log")),
            Measure(
                "aspect_ratio", "Width over height.", "", f"{wide} / nullif({tall}, 0)", Scale("log")
            ),
        ]
    tables = [layout.IMAGES, *(instance.name for instance in source.instances)]
    for table in tables:
        for field in source.tables.tables[table].schema:
            facts = {k.decode(): v.decode() for k, v in (field.metadata or {}).items()}
            unit = facts.get("unit", "")
            scale = choose_scale(field.type, unit)
            if scale is not None and not field.name.startswith("source_"):
                column = f"r.{duck.quoted(field.name)}"
                found.append(Measure(field.name, facts.get("doc", ""), unit, column, scale))
    return found


def count_measures(source: Source, measures: Sequence[Measure]) -> dict[str, Counts]:
    """Count every measure's bins in one scan."""
    if not measures:
        return {}
    bins = ", ".join(f"{m.scale.sql(m.sql)} AS b{i}" for i, m in enumerate(measures))
    names = [f"b{i}" for i in range(len(measures))]
    sets = ", ".join(f"({name})" for name in names)
    # A column takes part in a grouping set where GROUPING is 0.
    which = " + ".join(f"{i} * (1 - grouping({name}))" for i, name in enumerate(names))
    counted = source.ask(
        f"SELECT {which} AS measure, coalesce({', '.join(names)}) AS bin, count(*) AS num_all, "
        "count(*) FILTER (WHERE kept) AS num_kept "
        f"FROM (SELECT {source.kept} AS kept, {bins} {source.scope}) "
        f"GROUP BY GROUPING SETS ({sets}) ORDER BY measure, bin"
    )
    found: dict[str, Counts] = {}
    for row in counted:
        if row["bin"] is not None:
            counts = found.setdefault(measures[int(row["measure"])].name, Counts({}, {}))
            assert isinstance(counts.all, dict)
            assert isinstance(counts.kept, dict)
            counts.all[row["bin"]] = row["num_all"]
            if row["num_kept"]:
                counts.kept[row["bin"]] = row["num_kept"]
    return found


def draw(measure: Measure, counts: Counts, thresholds: Sequence[Threshold]) -> Histogram:
    """Join fine bins to at most `_MAX_BARS` bars and lay them out.

    Each series is scaled to its own total, so that the drawing compares shapes, not sizes; the
    counts stand beside it.
    """
    scale = measure.scale
    positive = [b for b in counts.all if b != ZERO_BIN]
    low, high = (min(positive), max(positive)) if positive else (0, 0)
    factor = next(f for f in _FACTORS if high // f - low // f < _MAX_BARS or f == _FACTORS[-1])
    first, last = low // factor, high // factor
    has_zero = ZERO_BIN in counts.all
    places = list(range(first - 2 if has_zero else first, last + 1))
    joined_all = _join(counts.all, factor, first)
    joined_kept = _join(counts.kept, factor, first)
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
        ticks = [(step / 2, 0.0), *(t for t in ticks if t[0] > 4 * step)]
    return Histogram(
        measure,
        tuple(bars),
        tuple(_marks(scale, thresholds, x_of)),
        tuple((x, value) for x, value in ticks if 0 <= x <= WIDTH),
        num_all,
        num_kept,
        _median(scale, counts.all),
        _median(scale, counts.kept) if num_kept else None,
        _outline(bars),
    )


def _join(counts: Mapping[int, int], factor: int, first: int) -> dict[int, int]:
    joined: dict[int, int] = {}
    for place, count in counts.items():
        target = first - 2 if place == ZERO_BIN else place // factor
        joined[target] = joined.get(target, 0) + count
    return joined


def _marks(scale: Scale, thresholds: Sequence[Threshold], x_of: object) -> list[Mark]:
    assert callable(x_of)
    marks = []
    for threshold in thresholds:
        # A whole number that may stay, or must not, begins at the edge before or behind its bar.
        behind = scale.kind == "whole" and threshold.operator in (">", "<=")
        x = float(x_of(scale.position(threshold.value + behind)))
        x = min(max(x, 0.0), WIDTH)
        out = (0.0, x) if threshold.is_lower else (x, WIDTH - x)
        marks.append(Mark(threshold, x, *out))
    return marks


def _median(scale: Scale, counts: Mapping[int, int]) -> float:
    """Return the value at the middle of the fine bin that holds the median row."""
    half = (sum(counts.values()) + 1) // 2
    seen = 0
    for place in sorted(counts):
        seen += counts[place]
        if seen >= half:
            return _value(scale, place)
    raise AssertionError("no counts")


def _value(scale: Scale, place: int) -> float:
    if place == ZERO_BIN:
        return 0.0
    return scale.edge(place if scale.kind == "whole" else place + 0.5)


def _outline(bars: Sequence[Bar]) -> str:
    """Return the steps of the kept series as points of a polyline."""
    points = [(bars[0].x, HEIGHT)]
    for bar in bars:
        top = HEIGHT - bar.kept_height
        points += [(bar.x, top), (bar.x + bar.width, top)]
    points.append((bars[-1].x + bars[-1].width, HEIGHT))
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
