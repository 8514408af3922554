"""Softmax in whole numbers."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stages.categorize import fixed_point
from stages.categorize.fixed_point import ONE, UNIT


def test_exponentials_are_those_of_mathematics():
    """Every entry of the table is within one unit of the exact value, and the last is 0."""
    table = fixed_point._exp_table()

    exact = np.exp(-np.arange(len(table)) / UNIT) * ONE
    assert np.abs(table - exact).max() <= 1
    assert table[0] == ONE
    assert table[-1] == 0
    assert fixed_point.exp_negative(np.array([1 << 62])).tolist() == [0]


@given(
    hnp.arrays(np.int64, st.integers(1, 40), elements=st.integers(-40 * UNIT, 40 * UNIT)),
    st.integers(-(1 << 30), 1 << 30),
)
def test_softmax_is_near_that_of_floats(values, shift):
    """Logarithms are right to one unit where they matter, and a common shift changes nothing."""
    found = fixed_point.log_softmax(values)

    exact = values / UNIT - (values / UNIT).max()
    exact -= math.log(np.exp(exact).sum())
    assert np.abs(found / UNIT - exact).max() <= 1 / UNIT
    assert (found <= 0).all()
    assert fixed_point.log_softmax(values + shift).tolist() == found.tolist()


def test_the_most_alternatives_are_within_the_table():
    """As many equal values as are allowed share the whole equally."""
    found = fixed_point.log_softmax(np.zeros((2, fixed_point.MAX_ADDENDS), np.int64))

    assert np.unique(found).tolist() == [-round(math.log(fixed_point.MAX_ADDENDS) * UNIT)]


def test_logits_are_scaled_cosines():
    """A cosine of 1 at scale 100 is a logarithm of 100; 100,000 does not overflow."""
    products = np.array([1 << 28, 0, -(1 << 28), 1 << 27])

    assert fixed_point.logits(products, 1 << 14, fixed_point.scale_factor(100)).tolist() == [
        100 * UNIT,
        0,
        -100 * UNIT,
        50 * UNIT,
    ]
    large = fixed_point.logits(products, 1 << 14, fixed_point.scale_factor(100_000))
    assert large[0] == 100_000 * UNIT
