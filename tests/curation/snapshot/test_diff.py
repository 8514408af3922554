"""Two snapshots of a dataset, compared row by row."""

from curation.snapshot.create import create_snapshot
from curation.snapshot.diff import ABSENT, KEPT, diff_snapshots, moved_images
from tests.curation.snapshot.snapshot_dataset import Image, make_dataset, unreadable

IMAGES = [Image("a", width=100), Image("b", width=200), Image("c", score=10.0), unreadable("d")]


def create(made):
    return create_snapshot(made.dataset, made.pipeline, made.instances, made.relations).manifest


def test_a_diff_counts_gained_lost_and_other_reasons(tmp_path):
    """Each row that differs is counted once, under its reasons before and after."""
    made = make_dataset(tmp_path / "d", IMAGES, where={"size": "inspect_width >= 150"})
    before = create(made)
    after = create(
        made.with_snapshot(where={"pretty": "aesthetic_score > 20 AND inspect_width < 200"})
    )

    diff = diff_snapshots(made.dataset, before.id[:6], after.id, with_rows=True)

    assert diff.changes == {("kept", "pretty"): 2, ("size", "kept"): 1}
    assert (diff.num_gained, diff.num_lost, diff.num_reason_changed) == (1, 2, 0)
    assert diff.rows is not None
    assert diff.rows.select(["row", "before", "after"]).to_pylist() == [
        {"row": 0, "before": "size", "after": KEPT},
        {"row": 1, "before": KEPT, "after": "pretty"},
        {"row": 2, "before": KEPT, "after": "pretty"},
    ]
    assert diff.rows["image_id"].to_pylist()[0] == IMAGES[0].image_id


def test_rows_that_only_one_knows_are_absent_in_the_other(tmp_path):
    """A later ingest adds rows that the older snapshot does not know."""
    first = make_dataset(tmp_path / "d", IMAGES)
    before = create(first)
    second = make_dataset(tmp_path / "d", IMAGES, [Image("e"), Image("a", b"new")])
    after = create(second)

    diff = diff_snapshots(second.dataset, before.id, after.id)

    assert diff.changes == {(ABSENT, KEPT): 2, (KEPT, "superseded"): 1}
    assert (diff.num_gained, diff.num_lost) == (2, 1)


def test_a_snapshot_does_not_differ_from_itself(tmp_path):
    """No change is no row."""
    made = make_dataset(tmp_path / "d", IMAGES)
    found = create(made)

    diff = diff_snapshots(made.dataset, found.id, found.id, with_rows=True)

    assert diff.rows is not None
    assert (diff.changes, len(diff.rows)) == ({}, 0)


def test_moved_images_are_listed_with_both_splits(tmp_path):
    """Images that the previous snapshot kept elsewhere are named."""
    images = [Image(f"i{n}") for n in range(12)]
    made = make_dataset(tmp_path / "d", images, split={"validation": 0.0})
    before = create(made)
    after = create(made.with_snapshot(split={"validation": 1.0}))

    moved = moved_images(made.dataset, after.id, before.id)

    assert len(moved) == 12
    assert set(zip(moved["before"].to_pylist(), moved["after"].to_pylist(), strict=True)) == {
        ("train", "validation")
    }
    assert diff_snapshots(made.dataset, before.id, after.id).num_split_changed == 12
    assert len(moved_images(made.dataset, after.id, after.id)) == 0
