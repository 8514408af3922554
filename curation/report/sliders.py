"""Which columns have a slider, and the cuts at which it stops.

A cut lies right before or right behind a value, so that `>=` and `>` are told apart. Cuts divide
the values of a column into bins, and a count is exact wherever a slider stands at a cut.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from curation.report.measures import Measure, count_measures, find_measures
from curation.report.source import Source
from curation.report.stops import round_stops
from curation.report.thresholds import Threshold, find_thresholds

MOST_COLUMNS = 4
"""Cells of the joint count multiply with every column."""

_SCORE = "score"
"""What the name of a column ends in that says how good an image is."""


@dataclass(frozen=True, order=True)
class Cut:
    """A place between two values: right before `value`, or right behind it."""

    value: float
    is_behind: bool

    def sql(self, column: str) -> str:
        """Return SQL that says whether a value lies behind the cut."""
        return f"{column} {'>' if self.is_behind else '>='} {literal(self.value)}"


@dataclass(frozen=True)
class Dimension:
    """A column and its cuts, in order; `len(cuts) + 1` bins from 1, and bin 0 for null."""

    measure: Measure
    cuts: tuple[Cut, ...]

    @property
    def num_bins(self) -> int:
        """Bins with that of null."""
        return len(self.cuts) + 2

    def bin_sql(self) -> str:
        """Return SQL for the bin of a row."""
        value = self.measure.sql
        return f"CASE WHEN {value} IS NULL THEN 0 ELSE {_search(value, self.cuts, 1)} END"


@dataclass(frozen=True)
class Slider:
    """One end of a column that can be moved.

    Attributes:
        dimension: Number of its column.
        operator: What a value must be to stay: `>=`, `>`, `<=` or `<`.
        predicate: Name of the predicate that it stands for; empty where there is none yet.
        stops: Cuts at which it can stand, by their numbers; besides it can be off.
        start: Where it stands in the snapshot, as a place in `stops`; null for off.
    """

    dimension: int
    operator: str
    predicate: str
    stops: tuple[int, ...]
    start: int | None

    @property
    def is_lower(self) -> bool:
        """Whether values below it are out."""
        return self.operator.startswith(">")


@dataclass(frozen=True)
class Panel:
    """All sliders.

    Attributes:
        dimensions: The columns.
        sliders: Their ends.
        released: Predicates that the sliders stand for as a whole.
    """

    dimensions: tuple[Dimension, ...]
    sliders: tuple[Slider, ...]
    released: tuple[str, ...]


def literal(value: float) -> str:
    """Return a number as SQL and YAML write it, without an exponent."""
    text = format(Decimal(repr(value)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def make_panel(source: Source, most_stops: int) -> Panel | None:
    """Choose columns and cuts; null where nothing can be moved.

    First come the columns that predicates compare with numbers, then other scores.
    """
    measures = {measure.name: measure for measure in find_measures(source)}
    released, thresholds = _movable(source, measures)
    names = list(thresholds)
    names += [name for name in measures if name.endswith(_SCORE) and name not in names]
    names = names[:MOST_COLUMNS]
    if not names:
        return None
    counts = count_measures(source, [measures[name] for name in names])
    dimensions: list[Dimension] = []
    sliders: list[Slider] = []
    for name in names:
        measure = measures[name]
        found = counts[name].all if name in counts else {}
        ends: list[_End] = [(t.operator, t.predicate, t.value) for t in thresholds.get(name, [])]
        if not any(operator.startswith(">") for operator, _, _ in ends):
            ends.insert(0, (">=", "", None))
        limits = [value for _, _, value in ends if value is not None]
        values = round_stops(measure.scale, found, measure.unit, most_stops, limits)
        cuts = _cuts(values, ends)
        if cuts:
            sliders += [_slider(len(dimensions), cuts, end) for end in ends]
            dimensions.append(Dimension(measure, cuts))
    return Panel(tuple(dimensions), tuple(sliders), released) if dimensions else None


_End = tuple[str, str, float | None]
"""Operator, predicate and limit of a slider."""


def _movable(
    source: Source, measures: Mapping[str, Measure]
) -> tuple[tuple[str, ...], Mapping[str, list[Threshold]]]:
    """Return the predicates that sliders can stand for, and column -> their thresholds."""
    released: list[str] = []
    thresholds: dict[str, list[Threshold]] = defaultdict(list)
    for predicate in source.manifest.content.where if source.manifest is not None else ():
        found = find_thresholds([predicate])
        columns = thresholds.keys() | found.keys()
        if found and found.keys() <= measures.keys() and len(columns) <= MOST_COLUMNS:
            released.append(predicate.name)
            for column, own in found.items():
                thresholds[column] += own
    return tuple(released), thresholds


def _cuts(values: Iterable[float], ends: Sequence[_End]) -> tuple[Cut, ...]:
    """Return the cuts of a column: round values on every side that is asked for, and limits."""
    sides = {_is_behind(operator) for operator, _, _ in ends}
    cuts = {Cut(value, side) for value in values for side in sides}
    limits = {Cut(value, _is_behind(o)) for o, _, value in ends if value is not None}
    return tuple(sorted(cuts | limits))


def _slider(dimension: int, cuts: Sequence[Cut], end: _End) -> Slider:
    operator, predicate, value = end
    side = _is_behind(operator)
    stops = tuple(number for number, cut in enumerate(cuts) if cut.is_behind == side)
    start = None if value is None else stops.index(cuts.index(Cut(value, side)))
    return Slider(dimension, operator, predicate, stops, start)


def _is_behind(operator: str) -> bool:
    """Say whether an operator cuts right behind its value: what equals it lies with the smaller."""
    return operator in (">", "<=")


def _search(value: str, cuts: Sequence[Cut], first: int) -> str:
    """Return SQL that finds the bin by halving."""
    if not cuts:
        return str(first)
    middle = len(cuts) // 2
    left = _search(value, cuts[:middle], first)
    right = _search(value, cuts[middle + 1 :], first + middle + 1)
    return f"CASE WHEN {cuts[middle].sql(value)} THEN {right} ELSE {left} END"
