"""Drawn rows depend on their identities alone."""

import random
import uuid

import pyarrow as pa

from curation.report.draws import Place, draw_ids, draw_rows

ROWS = [
    {"group": f"g{n % 3}", "image_id": str(uuid.UUID(int=n * 977 + 1)), "shard": n // 10, "row": n}
    for n in range(90)
]


def batches(rows, size):
    return [
        pa.RecordBatch.from_pylist(rows[start : start + size])
        for start in range(0, len(rows), size)
    ]


def test_order_and_batches_change_no_draw():
    """The same rows in any order and portions give the same places in the same order."""
    shuffled = ROWS.copy()
    random.Random(4).shuffle(shuffled)

    found = draw_rows(batches(ROWS, 90), 5)

    assert found == draw_rows(batches(shuffled, 7), 5)
    assert {name: len(places) for name, places in found.items()} == {"g0": 5, "g1": 5, "g2": 5}
    assert all(place.row % 3 == int(name[1]) for name, places in found.items() for place in places)


def test_fewer_draws_are_the_first_of_more():
    """Showing more adds to what was shown."""
    assert draw_rows(batches(ROWS, 20), 2)["g1"] == draw_rows(batches(ROWS, 20), 9)["g1"][:2]


def test_small_groups_are_drawn_whole():
    """All rows come, once each."""
    found = draw_rows(batches(ROWS[:4], 2), 50)

    assert sorted(found["g0"]) == [Place(0, 0), Place(0, 3)]


def test_rows_without_identity_are_not_drawn():
    """What was never taken in has nothing to show."""
    lost = {"group": "g0", "image_id": None, "shard": 0, "row": 1}
    batch = pa.RecordBatch.from_pylist([ROWS[0], lost])

    assert draw_rows([batch], 5) == {"g0": [Place(0, 0)]}


def test_identifiers_are_drawn_alike():
    """Drawing of identifiers does not depend on order either."""
    rows = [{"image_id": row["image_id"]} for row in ROWS]

    found = draw_ids(batches(rows, 8), 6)

    assert len(set(found)) == 6
    assert found == draw_ids(batches(rows[::-1], 31), 6)
