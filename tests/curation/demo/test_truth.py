"""Which pairs count as duplicates."""

import pyarrow as pa

from curation.demo.truth import PAIRS, TRUTH, pairs_table, truth_table
from tests.curation.demo.plans import known


def pairs(*files):
    return pairs_table(files).to_pylist()


def test_same_bytes_are_an_exact_positive_pair():
    """The pair is written once, the smaller path first."""
    (row,) = pairs(known("b", "s", digest="d"), known("a", "s", digest="d"))

    assert (row["path_a"], row["path_b"], row["relation"]) == ("a", "b", "exact")
    assert (row["label"], row["iou"], row["duplicate_edits"]) == ("positive", 1.0, True)


def test_copies_of_one_original_are_judged_by_what_they_both_show():
    """Positive from IoU 0.9, ambiguous from 0.5, negative below, between two copies as well."""
    rows = pairs(
        known("a", "s"),
        known("b", "s", (0.0, 0.0, 0.95, 1.0)),
        known("c", "s", (0.3, 0.0, 1.0, 1.0)),
        known("d", "s", (0.0, 0.0, 0.3, 1.0)),
    )

    labels = {row["path_a"] + row["path_b"]: row["label"] for row in rows}
    assert labels == {
        "ab": "positive",
        "ac": "ambiguous",
        "ad": "negative",
        "bc": "ambiguous",
        "bd": "negative",
        "cd": "negative",
    }
    assert {row["relation"] for row in rows} == {"near"}


def test_two_originals_of_one_photograph_are_never_positive():
    """They are recorded with their overlap; the half of a picture is no duplicate, nor its own."""
    left, most = (0.0, 0.0, 0.5, 1.0), (0.0, 0.0, 0.6, 1.0)
    rows = pairs(
        known("a", "s", photograph="cat", window=left),
        known("b", "t", photograph="cat", window=most),
        known("c", "u", photograph="cat", window=(0.4, 0.0, 1.0, 1.0)),
        known("d", "v", photograph="moon", window=left),
    )

    found = {row["path_a"] + row["path_b"]: (row["relation"], row["label"]) for row in rows}
    assert found == {
        "ab": ("same_photograph", "ambiguous"),
        "ac": ("same_photograph", "negative"),
        "bc": ("same_photograph", "negative"),
    }
    assert not any(row["duplicate_edits"] for row in rows)


def test_hard_negatives_of_one_template_are_listed_as_negatives():
    """Without an overlap, for they share no pixels."""
    (row,) = pairs(known("a", "s", template="t"), known("b", "u", template="t"), known("c", "v"))

    assert (row["relation"], row["label"], row["iou"]) == ("same_template", "negative", None)


def test_files_that_cannot_be_read_are_in_no_pair():
    """Two empty files have the same bytes and are still no duplicates of pictures."""
    rows = pairs(
        known("a", "s", digest="d", expect_error="empty"),
        known("b", "s", digest="d", expect_error="empty"),
    )

    assert rows == []


def test_tables_have_their_schemas_even_when_empty():
    """Every column says what it means."""
    assert truth_table([]).schema == TRUTH
    assert pairs_table([]).schema == PAIRS
    fields = [*TRUTH, *PAIRS]
    assert all(field.metadata[b"doc"] for field in fields if isinstance(field, pa.Field))
