"""Line charts over the steps of a run, laid out for SVG that a template draws."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from curation.report import wording
from curation.report.scales import log_ticks, round_ticks

WIDTH, HEIGHT = 560.0, 216.0
LEFT, RIGHT, TOP, BOTTOM = 58.0, 548.0, 10.0, 186.0

_COLUMNS = 200

_LOG_FROM = 40.0
_DOTS = 60

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        name: In words.
        style: Class of its colour.
        points: Of the SVG polyline.
        band: Of the polygon from the lowest to the highest of each column; empty if all are shown.
        dots: Places of the single values; empty where they are many.
        last: Its last value, in words.
    """

    name: str
    style: str
    points: str
    band: str
    dots: tuple[tuple[float, float], ...]
    last: str


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        title: What it shows.
        unit: Of the values; empty for plain numbers.
        lines: Empty where there is nothing to show.
        x_ticks: (place, words) on the axis of steps.
        y_ticks: (place, words) on the axis of values.
        is_log: Whether values are shown logarithmically.
        note: A sentence below; why there is nothing, where there is nothing.
    """

    title: str
    unit: str
    lines: tuple[Line, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    is_log: bool = False
    note: str = ""


def amount(value: float) -> str:
    """Return a value with about three digits, however large it is."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            unit = 1e3 if letter == "k" else size
            return f"{value / unit:.4g}{letter}" if abs(value) < 1e15 else f"{value:.2g}"
    return wording.number(value)


def draw_chart(
    title: str,
    series: Mapping[str, Points],
    *,
    last_step: float,
    unit: str = "",
    words: Callable[[float], str] = amount,
    from_zero: bool = False,
    may_be_log: bool = True,
    styles: Sequence[str] = (),
    columns: int = _COLUMNS,
    with_band: bool = True,
    note: str = "",
    empty: str = "Nothing was measured yet.",
) -> Chart:
    """Lay a chart out.

    Args:
        title: What it shows.
        series: Name -> (step, value) in order; those without any are left out.
        last_step: Where the axis ends, the same for all charts of a run.
        unit: Of the values.
        words: A value in words.
        from_zero: Whether the axis begins at zero.
        may_be_log: Whether it may else be logarithmic, where values lie far apart.
        styles: Colour classes, one for each series.
        columns: Longer lines are drawn through the mean of so many columns.
        with_band: Whether the range of each column is shown behind.
        note: A sentence below the chart.
        empty: What to say where there is nothing.
    """
    styles = styles or [f"line{number}" for number in range(len(series))]
    told = [(name, style, p) for (name, p), style in zip(series.items(), styles, strict=True) if p]
    if not told:
        return Chart(title, unit, (), (), (), note=empty)
    values = [value for _, _, points in told for _, value in points]
    axis = _Axis(min(values), max(values), from_zero=from_zero, may_be_log=may_be_log)
    x = _Steps(last_step, columns)
    return Chart(
        title,
        unit,
        tuple(
            _line(name, style, points, x, axis, words, with_band=with_band)
            for name, style, points in told
        ),
        tuple((x.place(step), wording.count(int(step))) for step in x.ticks()),
        tuple((axis.place(value), label) for value, label in axis.ticks(words)),
        axis.is_log,
        note,
    )


class _Steps:
    """The axis of steps, from 0, in columns."""

    def __init__(self, last: float, num_columns: int) -> None:
        self._last = max(last, 1.0)
        self.num_columns = num_columns

    def place(self, step: float) -> float:
        return LEFT + (RIGHT - LEFT) * step / self._last

    def column(self, step: float) -> int:
        return min(int(self.num_columns * step / self._last), self.num_columns - 1)

    def ticks(self) -> list[float]:
        return round_ticks(0.0, self._last, whole=True)


class _Axis:
    """The axis of values.

    Attributes:
        is_log: Whether it is logarithmic: values of very different size would else be flat lines.
    """

    def __init__(self, low: float, high: float, *, from_zero: bool, may_be_log: bool) -> None:
        can_be_log = may_be_log and not from_zero and low > 0
        self.is_log = can_be_log and high / low > _LOG_FROM
        if from_zero:
            low, high = min(low, 0.0), high if high > 0 else 1.0
        if self.is_log:
            self._low, self._high = low / 1.15, high * 1.15
            return
        margin = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
        self._low = low if from_zero else low - margin
        self._high = high + margin

    def place(self, value: float) -> float:
        share = (self._of(value) - self._of(self._low)) / (
            self._of(self._high) - self._of(self._low)
        )
        return BOTTOM - (BOTTOM - TOP) * share

    def ticks(self, words: Callable[[float], str]) -> list[tuple[float, str]]:
        if self.is_log:
            found = log_ticks(self._low, self._high, binary=False)
        else:
            found = round_ticks(self._low, self._high, whole=False)
        labels = [words(value) for value in found]
        if len(set(labels)) < len(labels):  # the values lie closer together than three digits say
            labels = [_exact(value, found[1] - found[0]) for value in found]
        return list(zip(found, labels, strict=True))

    def _of(self, value: float) -> float:
        return math.log(value) if self.is_log else value


def _exact(value: float, step: float) -> str:
    """Return a value with as many digits as tell it from its neighbours."""
    return f"{value:,.{max(0, -math.floor(math.log10(step)))}f}"


def _line(
    name: str,
    style: str,
    points: Points,
    x: _Steps,
    axis: _Axis,
    words: Callable[[float], str],
    *,
    with_band: bool,
) -> Line:
    drawn, band = list(points), ""
    if len(points) > 2 * x.num_columns:
        columns: dict[int, list[tuple[float, float]]] = {}
        for step, value in points:
            columns.setdefault(x.column(step), []).append((step, value))
        drawn, highest, lowest = [], [], []
        for _, inside in sorted(columns.items()):
            steps, values = zip(*inside, strict=True)
            middle = sum(steps) / len(steps)
            drawn.append((middle, sum(values) / len(values)))
            highest.append((middle, max(values)))
            lowest.append((middle, min(values)))
        band = _joined([*highest, *reversed(lowest)], x, axis) if with_band else ""
    dots = [(x.place(step), axis.place(value)) for step, value in drawn]
    return Line(
        name,
        style,
        _joined(drawn, x, axis),
        band,
        tuple(dots) if len(dots) <= _DOTS else (),
        words(points[-1][1]),
    )


def _joined(points: Points, x: _Steps, axis: _Axis) -> str:
    return " ".join(
        f"{wording.coordinate(x.place(step))},{wording.coordinate(axis.place(value))}"
        for step, value in points
    )
