"""Scales: which bin a value falls into, as SQL, and where it lies in a drawing."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

Kind = Literal["linear", "log", "whole"]

_LINEAR_BINS = 1200
_BINS_AN_OCTAVE = 24
_LAST_WHOLE = 255
ZERO_BIN = -100_000
"""The bin of zero and below on a logarithmic scale."""

_RANGE = re.compile(r"(-?[\d.]+)\.\.(-?[\d.]+)")
_WIDEST_LINEAR = 1000.0
"""Declared ranges above this are too long to show their lower end on a linear scale."""


def inner_range(counts: Mapping[int, int], outliers: float) -> tuple[int, int] | None:
    """Return the first and last bin when a share of the rows is left out at either end.

    The bin of zero does not count; null where no other has any row.
    """
    places = sorted(place for place in counts if place != ZERO_BIN)
    if not places:
        return None
    spare = int(sum(counts[place] for place in places) * outliers)

    def inner(ordered: Sequence[int]) -> int:
        seen = 0
        for place in ordered:
            seen += counts[place]
            if seen > spare:
                return place
        raise AssertionError("outliers are few")

    return inner(places), inner(places[::-1])


@dataclass(frozen=True)
class Scale:
    """The fine bins of a column; a drawing joins neighbouring ones.

    Attributes:
        kind: `linear` over a declared range, `log` for what only has a lower end, `whole` for small
            whole numbers, one a bin.
        low: Lower end of a linear range.
        high: Upper end of a linear range.
    """

    kind: Kind
    low: float = 0.0
    high: float = 0.0

    def sql(self, value: str) -> str:
        """Return the number of the bin that the SQL expression `value` falls into."""
        if self.kind == "linear":
            step = (self.high - self.low) / _LINEAR_BINS
            place = f"floor((({value}) - {self.low!r}) / {step!r})"
            place = f"least({_LINEAR_BINS - 1}, greatest(0, {place}))"
        elif self.kind == "log":
            place = (
                f"CASE WHEN ({value}) <= 0 THEN {ZERO_BIN} "
                f"ELSE floor(log2(({value})::DOUBLE) * {_BINS_AN_OCTAVE}) END"
            )
        else:
            place = f"least({_LAST_WHOLE}, greatest(0, ({value})))"
        # DuckDB's `least` and `greatest` pass over nulls.
        return f"CASE WHEN ({value}) IS NOT NULL THEN ({place})::INTEGER END"

    def edge(self, position: float) -> float:
        """Return the value at the lower edge of a bin; `position` may lie inside one."""
        if self.kind == "linear":
            return self.low + position * (self.high - self.low) / _LINEAR_BINS
        if self.kind == "log":
            return float(2.0 ** (position / _BINS_AN_OCTAVE))
        return position

    def middle(self, place: int) -> float:
        """Return the value that stands for a bin: its middle, or the end of the scale."""
        if place == ZERO_BIN or self.kind == "whole":
            return float(max(place, 0))
        if self.kind == "linear" and place in (0, _LINEAR_BINS - 1):
            return self.low if place == 0 else self.high
        return self.edge(place + 0.5)

    def position(self, value: float) -> float:
        """Return where a value lies, in fine bins; the inverse of `edge`."""
        if self.kind == "linear":
            return (value - self.low) * _LINEAR_BINS / (self.high - self.low)
        if self.kind == "log":
            return math.log2(value) * _BINS_AN_OCTAVE if value > 0 else -math.inf
        return value

    def ticks(self, start: float, stop: float, unit: str) -> list[float]:
        """Return two to six round values between two positions."""
        low, high = self.edge(start), self.edge(stop)
        if self.kind == "log":
            return log_ticks(low, high, binary=unit in ("px", "bytes"))
        return round_ticks(low, high, whole=self.kind == "whole")


def choose_scale(kind: pa.DataType, unit: str) -> Scale | None:
    """Return the scale of a column from its type and its unit; null for what is no measurement."""
    if not unit or not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return None
    if pa.types.is_integer(kind) and unit not in ("px", "bytes"):
        return Scale("whole")
    if match := _RANGE.match(unit):
        low, high = float(match[1]), float(match[2])
        if low < high <= _WIDEST_LINEAR:
            return Scale("linear", low, high)
    return Scale("log")


def log_ticks(low: float, high: float, *, binary: bool) -> list[float]:
    """Return a few round values between two positive ones, for a logarithmic axis."""
    if binary:
        powers = range(math.floor(math.log2(low)) - 1, math.ceil(math.log2(high)) + 1)
        candidates = [2.0**power for power in powers]
    else:
        powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
        candidates = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
        if high / low > 200:
            candidates = [10.0**power for power in powers]
    inside = [value for value in candidates if low <= value <= high]
    if len(inside) < 3:
        return round_ticks(low, high, whole=False)
    return inside[:: max(1, math.ceil(len(inside) / 5))]


def round_ticks(low: float, high: float, *, whole: bool) -> list[float]:
    """Return a few round values between two values, for a linear axis."""
    span = high - low
    if span <= 0:
        return [low]
    step = 10.0 ** math.floor(math.log10(span / 4))
    step = next(step * f for f in (1, 2, 5, 10) if span / (step * f) <= 5)
    if whole:
        step = max(1.0, step)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]
