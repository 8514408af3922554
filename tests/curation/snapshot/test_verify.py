"""A snapshot that was touched is found out."""

import json

import pytest

from curation.errors import SnapshotError
from curation.snapshot.create import create_snapshot
from curation.snapshot.read import snapshot_path
from curation.snapshot.verify import verify_snapshot
from tests.curation.snapshot.snapshot_dataset import Image, make_dataset


@pytest.fixture
def made(tmp_path):
    return make_dataset(tmp_path / "d", [Image("a"), Image("b")])


@pytest.fixture
def manifest(made):
    return create_snapshot(made.dataset, made.pipeline, made.instances, made.relations).manifest


def test_an_untouched_snapshot_is_whole(made, manifest):
    """No fault where nothing was changed."""
    assert verify_snapshot(made.dataset, manifest.id) == []


def test_a_changed_file_and_a_missing_one_are_named(made, manifest):
    """Each fault is a sentence with the file."""
    store = made.dataset.store
    data = snapshot_path(manifest.id, "data/part-00000.parquet")
    decisions = snapshot_path(manifest.id, "decisions/part-00000.parquet")
    content = bytearray(store.read(data))
    content[40] ^= 1
    store.put(data, bytes(content))
    store.delete(decisions)

    assert verify_snapshot(made.dataset, manifest.id) == [
        f"{data}: the content has changed; make the snapshot anew",
        f"{decisions}: the file is missing; make the snapshot anew",
    ]


def test_an_edited_manifest_no_longer_gives_its_id(made, manifest):
    """The id is the hash of what the manifest says."""
    path = snapshot_path(manifest.id, "manifest.json")
    value = json.loads(made.dataset.store.read(path))
    value["content"]["split"]["salt"] = "other"
    made.dataset.store.put(path, json.dumps(value).encode())

    (fault,) = verify_snapshot(made.dataset, manifest.id)

    assert "it was edited" in fault


def test_files_of_stages_are_not_looked_at(made, manifest):
    """A snapshot answers for its own files only."""
    made.drop("inspect", 0)

    assert verify_snapshot(made.dataset, manifest.id) == []


def test_an_unknown_id_is_refused(made, manifest):
    """There is nothing to verify."""
    with pytest.raises(SnapshotError, match="there is no snapshot 'zzz'"):
        verify_snapshot(made.dataset, "zzz")
