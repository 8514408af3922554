"""Garbage: what nothing refers to goes, and nothing else."""

import datetime as dt
import shutil

import pytest

from curation.dataset import Dataset
from curation.errors import ConfigError
from curation.garbage import GRACE, delete_garbage, find_garbage
from stages.registry import STAGES
from tests.curation.kept_dataset import publish, run, write_pipeline

NEVER = dt.timedelta(0)


def later(**ago):
    return dt.datetime.now(dt.UTC) + dt.timedelta(**ago)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A dataset whose `inspect` was changed once, so that two fingerprints lie there."""
    folder = tmp_path_factory.mktemp("made")
    pipeline = write_pipeline(folder)
    run(pipeline)
    (folder / "kept.yaml").write_text(
        pipeline.read_text().replace("inspect: {}", "inspect: {hasher: imagehash}")
    )
    run(pipeline)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    """A copy of it."""
    shutil.copytree(made / "dataset", tmp_path / "dataset")
    text = (made / "kept.yaml").read_text().replace(str(made), str(tmp_path))
    (tmp_path / "kept.yaml").write_text(text)
    (tmp_path / "lake").symlink_to(made / "lake")
    return tmp_path


def opened(folder):
    return Dataset.open(str(folder / "dataset"))


def test_an_earlier_fingerprint_is_garbage_and_the_present_one_is_not(folder):
    """Of both stages: `aesthetic` reads what `inspect` wrote."""
    dataset = opened(folder)
    before = {name: dataset.store.names(name) for name in ("inspect", "aesthetic")}

    found = find_garbage(dataset, STAGES, NEVER, later(seconds=1))
    freed = delete_garbage(dataset, found)

    assert sorted(g.path.split("/")[0] for g in found) == ["aesthetic", "inspect"]
    assert all(len(names) == 2 for names in before.values())
    assert freed == sum(g.num_bytes for g in found) > 0
    for garbage in found:
        assert not dataset.store.exists(garbage.path)
    assert find_garbage(dataset, STAGES, NEVER, later(seconds=1)) == []
    done = run(folder / "kept.yaml")  # nothing that is needed was taken
    assert {n: len(done.store.names(n)) for n in before} == {"inspect": 1, "aesthetic": 1}


def test_what_was_just_written_is_left_alone(folder):
    """A run that has not said yet what it is may be at work on it."""
    dataset = opened(folder)

    assert find_garbage(dataset, STAGES, GRACE, later()) == []
    assert len(find_garbage(dataset, STAGES, GRACE, later(days=8))) == 2


def test_what_a_snapshot_was_made_from_stays(folder):
    """Though no pipeline gives it any more; without that snapshot it would go."""
    dataset = opened(folder)
    text = (folder / "kept.yaml").read_text()
    (folder / "kept.yaml").write_text(text.replace("inspect: {hasher: imagehash}", "inspect: {}"))
    snapshot = publish(folder / "kept.yaml")

    kept = find_garbage(dataset, STAGES, NEVER, later(seconds=1))
    dataset.store.delete(f"snapshots/{snapshot}/manifest.json")
    gone = find_garbage(dataset, STAGES, NEVER, later(seconds=1))

    assert kept == []
    assert [g.path.split("/")[0] for g in gone] == ["aesthetic", "inspect", "snapshots"]


def test_unfinished_snapshots_are_garbage(folder):
    """Without a manifest there is no snapshot."""
    dataset = opened(folder)
    dataset.store.put("snapshots/abc/decisions/part-00000.parquet", b"half")

    found = find_garbage(dataset, STAGES, NEVER, later(seconds=1))

    assert [g.path for g in found if g.path.startswith("snapshots/")] == ["snapshots/abc"]


def test_a_fit_that_nothing_uses_is_garbage_with_its_pin(folder):
    """The pin goes before what it names."""
    dataset = opened(folder)
    dataset.store.put("artifacts/old/0123/centers.npy", b"x")
    dataset.store.put("pins/4567.json", b'{"digest": "0123", "instance": "old", "format": 1}')

    found = [g.path for g in find_garbage(dataset, STAGES, NEVER, later(seconds=1))]

    assert found[-2:] == ["pins/4567.json", "artifacts/old/0123"]


def test_a_pipeline_that_cannot_be_read_stops_everything(folder):
    """Nobody can say what it refers to, so nothing is called garbage."""
    (folder / "dataset" / "pipelines" / "new.yaml").write_text("name: new\nfuture: 1\n")
    with pytest.raises(ConfigError, match="future"):
        find_garbage(opened(folder), STAGES, NEVER, later())
