"""The current row of a place is the latest that counts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.snapshot.current import (
    READABLE,
    TRANSIENT,
    UNREADABLE,
    VANISHED,
    Events,
    find_current,
    hash_places,
)


def current(*events):
    """Find the current ones among (place, seq, shard, row, kind)."""
    table = np.array(events, np.int64).reshape(-1, 5)
    place = np.stack([table[:, 0], table[:, 0]], axis=1).astype(np.uint64)
    seq, shard, row = (table[:, n].astype(np.int32) for n in (1, 2, 3))
    return find_current(Events(place, seq, shard, row, table[:, 4].astype(np.uint8))).tolist()


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ([READABLE], [True]),
        ([TRANSIENT], [True]),
        ([READABLE, READABLE], [False, True]),
        ([READABLE, UNREADABLE], [False, True]),
        ([READABLE, TRANSIENT], [True, False]),
        ([READABLE, TRANSIENT, TRANSIENT], [True, False, False]),
        ([READABLE, TRANSIENT, READABLE], [False, False, True]),
        ([TRANSIENT, TRANSIENT], [False, True]),
        ([UNREADABLE, TRANSIENT], [False, True]),
        ([READABLE, UNREADABLE, TRANSIENT], [False, False, True]),
        ([READABLE, VANISHED], [False, False]),
        ([READABLE, VANISHED, READABLE], [False, False, True]),
        ([READABLE, VANISHED, TRANSIENT], [False, False, True]),
    ],
)
def test_what_supersedes_what(kinds, expected):
    """The latest wins, but passing trouble never beats a readable row, and gone is gone."""
    assert current(*[(1, seq, seq, 0, kind) for seq, kind in enumerate(kinds)]) == expected


def test_places_do_not_mix():
    """Rows of different places do not supersede each other."""
    assert current((1, 0, 0, 0, 0), (2, 1, 1, 0, 0), (1, 1, 1, 1, 0)) == [False, True, True]


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 3)),
        max_size=30,
        unique_by=lambda event: event[:2],
    ),
    st.randoms(use_true_random=False),
)
def test_order_in_memory_does_not_matter(events, random):
    """The answer depends on seq, shard and row, not on where an event stands."""
    events = [(place, seq, seq, place, kind) for place, seq, kind in events]
    shuffled = list(events)
    random.shuffle(shuffled)

    first = dict(zip(events, current(*events), strict=True))

    assert first == dict(zip(shuffled, current(*shuffled), strict=True))
    assert {e[0] for e in events if e[4] != VANISHED} >= {e[0] for e in events if first[e]}


def test_places_are_told_apart_by_name_key_and_ordinal():
    """No two of name, key and ordinal run together."""
    places = hash_places(["a", "a", "ab", "a"], ["bc", "bc", "c", "1"], [0, 1, 0, 10])

    assert len({tuple(place) for place in places.tolist()}) == 4
