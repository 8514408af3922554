"""Bins in SQL and edges in drawings are of the same scale."""

import math

import pyarrow as pa
import pytest

from curation.duck import connect, query
from curation.report.scales import ZERO_BIN, Scale, choose_scale

SCALES: dict[str, tuple[Scale, list[float]]] = {
    "linear": (Scale("linear", 0, 100), [0.0, 0.04, 37.3, 99.99, 100.0]),
    "log": (Scale("log"), [1e-5, 0.5, 1.0, 511.0, 512.0, 3e9]),
    "whole": (Scale("whole"), [0, 1, 8, 255]),
}


def bins(scale, values):
    with connect() as connection:
        connection.register("t", pa.table({"v": pa.array(values)}))
        table = query(connection, f"SELECT {scale.sql('t.v')} AS b FROM t")
    return table["b"].to_pylist()


@pytest.mark.parametrize("name", SCALES)
def test_a_value_lies_between_the_edges_of_its_bin(name):
    """SQL puts a value where the drawing looks for it."""
    scale, values = SCALES[name]

    for value, place in zip(values, bins(scale, values), strict=True):
        slack = 1e-9 * max(1.0, abs(value))
        assert scale.edge(place) <= value + slack
        assert value <= scale.edge(place + 1) + slack


@pytest.mark.parametrize("name", SCALES)
def test_null_has_no_bin(name):
    """A row without a value is not counted."""
    scale, values = SCALES[name]

    assert bins(scale, [values[-1], None])[1] is None


def test_values_beyond_a_declared_range_go_to_its_ends():
    """Nothing falls off a linear scale."""
    scale = Scale("linear", 0, 1)

    assert bins(scale, [-5.0, 0.0, 1.0, 7.0]) == [0, 0, 1199, 1199]


def test_zero_and_below_have_a_bin_of_their_own_on_a_logarithmic_scale():
    """There is no logarithm of them."""
    assert bins(Scale("log"), [0.0, -1.0]) == [ZERO_BIN, ZERO_BIN]
    assert Scale("log").middle(ZERO_BIN) == 0


@pytest.mark.parametrize("name", SCALES)
def test_position_undoes_edge(name):
    """A threshold lands where its value is."""
    scale, _ = SCALES[name]

    assert math.isclose(scale.position(scale.edge(17)), 17, abs_tol=1e-6)


@pytest.mark.parametrize(
    ("kind", "unit", "expected"),
    [
        (pa.int32(), "px", "log"),
        (pa.int64(), "bytes", "log"),
        (pa.float32(), ">= 0", "log"),
        (pa.float32(), "0..100", "linear"),
        (pa.float32(), "0..8 bits", "linear"),
        (pa.float32(), "0..16256.25", "log"),
        (pa.int16(), "bits", "whole"),
        (pa.int32(), "", None),
        (pa.string(), "px", None),
        (pa.list_(pa.float16(), 4), "-1..1", None),
    ],
)
def test_type_and_unit_choose_the_scale(kind, unit, expected):
    """Only numbers with a unit are measured."""
    scale = choose_scale(kind, unit)

    assert (scale.kind if scale else None) == expected


@pytest.mark.parametrize(
    ("low", "high"), [(0.7, 1.3), (0, 1), (12, 90_000), (1e-6, 1e6), (500, 520)]
)
@pytest.mark.parametrize("unit", ["", "px"])
def test_there_are_a_few_ticks_within_the_range(low, high, unit):
    """An axis is never bare and never crowded."""
    scale = Scale("log")
    start, stop = scale.position(max(low, 1e-3)), scale.position(high)

    ticks = scale.ticks(start, stop, unit)

    assert 1 <= len(ticks) <= 7
    assert all(max(low, 1e-3) * 0.999 <= tick <= high * 1.001 for tick in ticks)
