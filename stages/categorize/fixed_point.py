"""Softmax in whole numbers: the same probabilities on every machine and in every batch.

Logarithms are counted in units of 1/8192 and probabilities in units of 2^-30. Exponentials and
logarithms are looked up in tables that are themselves made in exact integers, so no library's `exp`
decides which of two categories is nearer. A unit of a logarithm is 0.012 % of a probability.
"""

import decimal
import functools

import numpy as np
from numpy.typing import NDArray

UNIT = 1 << 13
"""The integer that stands for a logarithm of 1."""

ONE = 1 << 30
"""The integer that stands for a probability of 1."""

MAX_ADDENDS = 1024
"""Over so many alternatives a softmax may go."""

_SCALE_BITS = 16
_GUARD_BITS = 128

Integers = NDArray[np.int64]


def scale_factor(scale: float) -> int:
    """Return what `logits` multiplies by, for a logit that is `scale` times the cosine."""
    return max(1, round(scale * (1 << _SCALE_BITS)))


def logits(products: Integers, unit: int, factor: int) -> Integers:
    """Return scaled cosines in units of 1/8192.

    Args:
        products: Inner products of unit vectors that are counted in `unit`.
        unit: A power of two, at most 2^14.
        factor: Of `scale_factor`, below 2^33: a scale of 100,000.
    """
    shift = 2 * (unit.bit_length() - 1) + _SCALE_BITS - (UNIT.bit_length() - 1)
    assert factor < 1 << 33, "products reach 2^29"
    return (products * factor) >> shift


def log_softmax(values: Integers) -> Integers:
    """Return the logarithms of the softmax along the last axis, in units of 1/8192; at most 0."""
    assert 1 <= values.shape[-1] <= MAX_ADDENDS
    below = values.max(axis=-1, keepdims=True) - values
    total = exp_negative(below).sum(axis=-1, keepdims=True)
    result: Integers = -below - np.searchsorted(_log_bounds(), total, side="right")
    return np.minimum(result, 0)


def exp_negative(values: Integers) -> Integers:
    """Return exp(-value), in units of 2^-30, for values of at least 0 in units of 1/8192."""
    table = _exp_table()
    return table[np.minimum(values, len(table) - 1)]


@functools.cache
def _exp_table() -> Integers:
    """Return exp(-k / 8192) for k = 0, 1, ..., down to the first 0."""
    found = [ONE]
    guarded = ONE << _GUARD_BITS
    factor = _exp_of(-1, UNIT)
    while found[-1]:
        guarded = guarded * factor >> _GUARD_BITS
        found.append((guarded + (1 << (_GUARD_BITS - 1))) >> _GUARD_BITS)
    table = np.array(found, np.int64)
    table.flags.writeable = False
    return table


@functools.cache
def _log_bounds() -> Integers:
    """Return the sums from which their logarithm is rounded up to 1, 2, ... units."""
    bounds = []
    guarded = ONE * _exp_of(1, 2 * UNIT)
    factor = _exp_of(1, UNIT)
    while guarded >> _GUARD_BITS <= MAX_ADDENDS * ONE:
        bounds.append((guarded >> _GUARD_BITS) + 1)
        guarded = guarded * factor >> _GUARD_BITS
    table = np.array(bounds, np.int64)
    table.flags.writeable = False
    return table


def _exp_of(numerator: int, denominator: int) -> int:
    """Return exp of a fraction in units of 2^-128; `decimal` rounds it correctly everywhere."""
    with decimal.localcontext(decimal.Context(prec=60)):
        value = (decimal.Decimal(numerator) / denominator).exp()
        return int((value * (1 << _GUARD_BITS)).to_integral_value())
