"""Cutting components that are too large, and joining rows."""

import numpy as np
import pyarrow as pa
import pytest

from stages.dedup.groups import (
    Cut,
    Links,
    content_codes,
    cut_large,
    distinct_contents,
    group_rows,
    sorted_unique,
)


def make_links(*links):
    """Make links from (left, right, distance)."""
    left, right, distance = zip(*links, strict=True) if links else ((), (), ())
    return Links(np.array(left, np.int64), np.array(right, np.int64), np.array(distance, np.int16))


def remaining(cut):
    links = cut.links
    return list(
        zip(links.left.tolist(), links.right.tolist(), links.distance.tolist(), strict=True)
    )


def test_only_components_that_are_too_large_are_cut():
    """The longest links of the large one go; the small one keeps its own."""
    links = make_links((0, 1, 2), (1, 2, 8), (2, 3, 2), (5, 6, 8))

    cut = cut_large(links, np.ones(7, np.int64), max_group=3)

    assert remaining(cut) == [(0, 1, 2), (2, 3, 2), (5, 6, 8)]
    assert cut.believed.all()
    assert cut.reports == [{"num_contents": 4, "radius": 7}]


def test_a_component_is_cut_until_its_pieces_are_small_enough():
    """Down to equal hashes: a bucket that is too large by itself is not believed at all."""
    links = make_links((0, 1, 4), (1, 2, 0), (2, 3, 6))
    weights = np.array([1, 5, 1, 1])

    cut = cut_large(links, weights, max_group=4)

    assert remaining(cut) == []
    assert cut.believed.tolist() == [True, False, False, True]
    assert cut.reports == [{"num_contents": 8, "radius": None}]


def test_nothing_to_link_is_nothing_to_cut():
    """No signatures, no links, no reports."""
    cut = cut_large(make_links(), np.empty(0, np.int64), max_group=1)

    assert remaining(cut) == []
    assert cut.reports == []


def test_contents_are_counted_once_and_unreadable_rows_are_lone():
    """Two rows without content are two contents."""
    rows = pa.table(
        {"images.content_sha256": pa.array([b"a" * 32, None, b"a" * 32, None], pa.binary(32))}
    )

    codes = content_codes(rows)

    assert codes[0] == codes[2]
    assert len(set(codes.tolist())) == 3
    of_row = np.array([0, -1, 0, 1])
    assert distinct_contents(of_row, codes, 3).tolist() == [1, 1, 0]


def test_contents_that_begin_or_end_alike_are_told_apart():
    """They differ in one byte, whichever of the 32 it is, in chunks and slices as they come."""
    kind = pa.binary(32)
    values = [bytes(n) + b"x" + bytes(31 - n) for n in range(32)]
    chunks = [pa.array([b"?" * 32, *values], kind).slice(1), pa.array(values, kind)]
    rows = pa.table({"images.content_sha256": pa.chunked_array(chunks, kind)})

    codes = content_codes(rows).tolist()

    assert len(set(codes)) == 32
    assert codes[:32] == codes[32:]


@pytest.mark.parametrize("values", [[], [3], [3, 1, 3, 2, 1]])
def test_different_values_are_sorted(values):
    """Each stays once."""
    assert sorted_unique(np.array(values, np.int64)).tolist() == sorted(set(values))


def test_a_content_under_two_signatures_joins_them():
    """As where one of two equal files could only be read in part; others stay apart."""
    ids = pa.array([bytes([n]) * 16 for n in (9, 8, 7, 6, 5)], pa.binary(16))
    contents = np.array([0, 0, 1, 2, 3])
    of_row = np.array([0, 1, 1, 2, -1])
    cut = Cut(make_links(), np.ones(3, bool), [])

    groups = group_rows(ids, contents, of_row, cut)

    assert groups.first[groups.label].tolist() == [2, 2, 2, 3, 4]
    assert groups.distance.tolist() == [0, 0, 0, -1, -1]
    assert groups.is_exact.tolist() == [True, True, False, False, False]


def test_a_group_is_joined_over_content_and_signatures_together():
    """A row without a signature joins over its content what another joins over its hash."""
    ids = pa.array([bytes([n]) * 16 for n in (9, 3, 7, 5)], pa.binary(16))
    contents = np.array([0, 0, 1, 2])
    of_row = np.array([-1, 0, 1, 2])
    cut = Cut(make_links((0, 1, 6)), np.ones(3, bool), [])

    groups = group_rows(ids, contents, of_row, cut)

    assert groups.label[0] == groups.label[1] == groups.label[2] != groups.label[3]
    assert groups.first[groups.label].tolist() == [1, 1, 1, 3]
    assert groups.distance.tolist() == [0, 0, 6, -1]
    assert groups.is_exact.tolist() == [True, True, False, False]
