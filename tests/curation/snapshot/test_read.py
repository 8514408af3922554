"""Finding snapshots by the beginning of their id."""

import json

import pytest

from curation.errors import SnapshotError
from curation.snapshot.create import create_snapshot
from curation.snapshot.read import (
    find_snapshot,
    list_snapshots,
    previous_splits,
    read_manifest,
    snapshot_path,
)
from tests.curation.snapshot.snapshot_dataset import Image, make_dataset, unreadable


@pytest.fixture
def made(tmp_path):
    images = [Image("a"), unreadable("b"), Image("c")]
    return make_dataset(tmp_path / "d", images, split={"validation": 1.0})


def create(made):
    return create_snapshot(made.dataset, made.pipeline, made.instances, made.relations).manifest


def test_the_beginning_of_an_id_is_enough(made):
    """A prefix that fits one snapshot finds it; none and several are refused."""
    first = create(made)
    second = create(made.with_snapshot(where={"size": "inspect_width > 1"}))

    assert find_snapshot(made.dataset, first.id[:8]) == first.id
    assert {m.id for m in list_snapshots(made.dataset)} == {first.id, second.id}
    with pytest.raises(SnapshotError, match="there is no snapshot 'x'"):
        find_snapshot(made.dataset, "x")
    with pytest.raises(SnapshotError, match="there is no snapshot ''"):
        find_snapshot(made.dataset, "")


def test_latest_is_the_one_made_last(made):
    """So that a script needs no id; counting back as git does."""
    first = create(made)
    second = create(made.with_snapshot(where={"size": "inspect_width > 1"}))

    assert find_snapshot(made.dataset, "latest") == second.id
    assert find_snapshot(made.dataset, "latest~1") == first.id
    with pytest.raises(SnapshotError, match="no snapshot 'latest~2', there are 2"):
        find_snapshot(made.dataset, "latest~2")


def test_a_folder_without_manifest_is_no_snapshot(made):
    """What was left by a killed call does not count."""
    made.dataset.store.put("snapshots/abc/decisions/part-00000.parquet", b"half")

    assert list_snapshots(made.dataset) == []
    with pytest.raises(SnapshotError, match="there is no snapshot"):
        read_manifest(made.dataset, "abc")


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda v: v["content"].update(format="longtail-snapshot-9"), "install a newer longtail"),
        (lambda v: v.update(colour=1), "colour: unknown key"),
    ],
)
def test_a_manifest_of_another_version_is_refused(made, edit, sentence):
    """A newer format is not read as if it were ours."""
    manifest = create(made)
    path = snapshot_path(manifest.id, "manifest.json")
    value = json.loads(made.dataset.store.read(path))
    edit(value)
    made.dataset.store.put(path, json.dumps(value).encode())

    with pytest.raises(Exception, match=sentence):
        read_manifest(made.dataset, manifest.id)


def test_previous_splits_are_those_of_kept_rows(made):
    """Rows that were out have no split to keep."""
    found = previous_splits(made.dataset, create(made).id)

    assert found.row.tolist() == [0, 2]
    assert found.split.tolist() == [1, 1]
