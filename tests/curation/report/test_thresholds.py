"""Which predicates are thresholds."""

import pytest

from curation.report.thresholds import find_thresholds
from curation.snapshot.manifest import Predicate


def found(sql):
    columns = find_thresholds([Predicate(name="p", sql=sql)])
    return [(t.column, t.operator, t.value) for part in columns.values() for t in part]


def test_comparisons_joined_by_and_are_thresholds():
    """Each comparison gives one, whatever its case and spaces."""
    assert found("inspect_width >= 512 AND Inspect_Height<1_000 and score > 2.5") == [
        ("inspect_width", ">=", 512),
        ("inspect_height", "<", 1000),
        ("score", ">", 2.5),
    ]


@pytest.mark.parametrize(
    "sql",
    [
        "a > 5 OR b > 3",
        "a > 5 OR b > 3 AND c > 1",
        "NOT a > 5",
        "NOT (a > 5 AND b > 3)",
        "a * 2 > 5",
        "a > b",
        "a > 5 AND b",
        "name = 'x AND a > 5 AND y'",
        "a BETWEEN 1 AND 5",
        "CASE WHEN a > 5 AND b > 3 THEN true END",
        "a = 5",
        "5 < a",
    ],
)
def test_anything_else_is_not_drawn(sql):
    """Half of a predicate would be a false line."""
    assert found(sql) == []


def test_thresholds_know_the_side_they_leave_out():
    """What must be larger leaves the lower side out."""
    columns = find_thresholds([Predicate(name="p", sql="a > 5 AND b <= 3")])

    assert columns["a"][0].is_lower
    assert not columns["b"][0].is_lower
