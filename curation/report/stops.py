"""Round values at which a slider stops."""

import math
from collections.abc import Iterable, Mapping, Sequence

from curation.report.scales import Scale, inner_range

_DIGITS = (1, 1.25, 1.6, 2, 2.5, 3, 4, 5, 6, 8)
_BINARY = (1, 1.25, 1.5, 1.75)
"""Steps of a decade and of an octave, the finest of what is tried."""

_OUTLIERS = 0.002
"""Share of the rows, at either end, that need no stops of their own."""


def round_stops(
    scale: Scale, counts: Mapping[int, int], unit: str, most: int, limits: Iterable[float] = ()
) -> tuple[float, ...]:
    """Return at most `most` round values between which rows lie.

    Args:
        scale: Fine bins of the column.
        counts: Fine bin -> rows.
        unit: Unit of the column; sizes in pixels and bytes get multiples of powers of two.
        most: How many.
        limits: Values up to which there are stops, beyond the rows too.
    """
    low, high = _range(scale, counts)
    for limit in limits:
        # Nothing lies below zero on a logarithmic scale, and no stop could lead there.
        if scale.kind != "log" or limit > 0:
            low, high = min(low, limit), max(high, limit)
    if scale.kind == "log":
        return tuple(_log_stops(low, high, unit in ("px", "bytes"), most))
    step = _round_step((high - low) / most)
    if scale.kind == "whole":
        step = max(1.0, step)
    first, last = math.floor(low / step) + 1, math.ceil(high / step - 1e-9)
    # A whole multiple is exact where a sum of steps would drift: 0.3, not 0.30000000000000004.
    return tuple(round(n * step, 12) for n in range(first, last + 1))


def _range(scale: Scale, counts: Mapping[int, int]) -> tuple[float, float]:
    found = inner_range(counts, _OUTLIERS)
    if found is None:
        return 0.0, 0.0
    return scale.edge(found[0]), scale.edge(found[1] + 1)


def _round_step(least: float) -> float:
    if least <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * f for f in (1, 2, 5, 10) if power * f >= least * (1 - 1e-9))


def _log_stops(low: float, high: float, binary: bool, most: int) -> list[float]:
    base = 2.0 if binary else 10.0
    digits: Sequence[float] = _BINARY if binary else _DIGITS
    if low <= 0 or high <= low:
        return []
    powers = range(math.floor(math.log(low, base)) - 1, math.ceil(math.log(high, base)) + 1)
    while True:
        found = [float(f"{digit * base**power:.12g}") for power in powers for digit in digits]
        found = [value for value in found if low < value < high]
        if len(found) <= most:
            return found
        if len(digits) > 1:
            digits = digits[::2]
        else:
            powers = powers[::2]
