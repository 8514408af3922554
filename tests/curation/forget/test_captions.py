"""Captions of forgotten images leave the snapshots, on the record."""

import json
import shutil

import pyarrow as pa
import pytest

from curation import storage
from curation.dataset import Dataset
from curation.forget import Request, erase, find
from curation.snapshot.read import find_snapshot, read_manifest, read_parts
from curation.snapshot.verify import amendment_notes, verify_snapshot
from stages.registry import STAGES
from tests.curation.kept_dataset import publish, run, write_pipeline

STAGES_OF_CAPTIONS = "  aesthetic: {}\n  embed: {}\n  categorize: {}\n  caption: {}\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A dataset with captions and a snapshot; copied before each use."""
    folder = tmp_path_factory.mktemp("made")
    pipeline = write_pipeline(folder)
    text = pipeline.read_text()
    pipeline.write_text(text.replace("  aesthetic: {}\n", STAGES_OF_CAPTIONS))
    run(pipeline)
    publish(pipeline)
    return folder


@pytest.fixture
def dataset(made, tmp_path):
    shutil.copytree(made / "dataset", tmp_path / "dataset")
    return Dataset.open(str(tmp_path / "dataset"))


def training(dataset):
    manifest = read_manifest(dataset, find_snapshot(dataset, "latest"))
    return pa.concat_tables(read_parts(dataset, manifest, "data")).to_pylist()


def forget(dataset, *rows):
    ids = frozenset(row["image_id"] for row in rows)
    found = find(dataset, Request(image_ids=ids), STAGES)
    return erase(dataset, found, "JANE asked to", "ticket of JANE", purge=False)


def test_captions_go_and_the_snapshot_says_so(dataset):
    """Its id, its manifest and every other value stay; the record holds nothing of the image."""
    before = training(dataset)
    snapshot = find_snapshot(dataset, "latest")
    manifest = dataset.store.read(f"snapshots/{snapshot}/manifest.json")
    assert all(row["captions"] for row in before)

    done = forget(dataset, before[1])

    assert training(dataset) == [before[0], before[1] | {"captions": []}, *before[2:]]
    assert dataset.store.read(f"snapshots/{snapshot}/manifest.json") == manifest
    assert done.snapshot_files == (f"snapshots/{snapshot}/data/part-00000.parquet",)
    assert verify_snapshot(dataset, snapshot) == []
    (note,) = amendment_notes(dataset, snapshot)
    assert note.startswith(f"{done.snapshot_files[0]}: amended")
    (record,) = dataset.store.files(f"snapshots/{snapshot}/amendments")
    text = dataset.store.read(record).decode()
    assert dataset.store.exists(json.loads(text)["tombstones"])
    assert "JANE" not in text
    assert before[1]["image_id"].hex() not in text


def test_a_second_amendment_follows_the_first(dataset):
    """And what the first one left is no longer right."""
    first, second, *_ = training(dataset)
    snapshot = find_snapshot(dataset, "latest")
    (path,) = forget(dataset, first).snapshot_files
    between = dataset.store.read(path)

    forget(dataset, second)

    assert [row["captions"] for row in training(dataset)[:2]] == [[], []]
    assert verify_snapshot(dataset, snapshot) == []
    dataset.store.put(path, between)
    (fault,) = verify_snapshot(dataset, snapshot)
    assert "an amendment was begun and not finished" in fault
    dataset.store.put(path, b"other")
    (fault,) = verify_snapshot(dataset, snapshot)
    assert "the content has changed" in fault


def test_killed_between_record_and_file_it_is_finished_by_another_call(dataset, monkeypatch):
    """Until then the snapshot says that it is not finished."""
    victim = training(dataset)[0]
    snapshot = find_snapshot(dataset, "latest")

    def kill(point, name):
        if point == "before" and "/data/" in name:
            raise KeyboardInterrupt

    monkeypatch.setattr(storage, "fault_hook", kill)
    with pytest.raises(KeyboardInterrupt):
        forget(dataset, victim)
    monkeypatch.setattr(storage, "fault_hook", None)

    (fault,) = verify_snapshot(dataset, snapshot)
    assert "an amendment was begun and not finished; run `longtail forget` again" in fault
    forget(dataset, victim)
    assert verify_snapshot(dataset, snapshot) == []
    assert training(dataset)[0]["captions"] == []


def test_two_calls_at_once_bring_no_caption_back(dataset, monkeypatch):
    """Both amend what the manifest says, and what is left in the end is without either."""
    first, second, *_ = training(dataset)
    waiting = [second]

    def interrupt(point, name):
        if point == "before" and "/data/" in name and waiting:
            forget(dataset, waiting.pop())

    monkeypatch.setattr(storage, "fault_hook", interrupt)
    forget(dataset, first)

    assert not waiting
    assert [row["captions"] for row in training(dataset)[:2]] == [[], []]
    assert verify_snapshot(dataset, find_snapshot(dataset, "latest")) == []


def test_called_twice_it_amends_once(dataset):
    """So a list can be given again."""
    victim = training(dataset)[0]
    forget(dataset, victim)

    again = forget(dataset, victim)

    assert again.snapshot_files == ()
    assert len(amendment_notes(dataset, find_snapshot(dataset, "latest"))) == 1
