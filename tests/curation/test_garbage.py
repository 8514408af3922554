"""Garbage: what nothing refers to goes, and nothing else."""

import datetime as dt
import json
import os
import shutil

import pytest

from curation import storage
from curation.dataset import Dataset
from curation.errors import ConfigError
from curation.garbage import GRACE, delete_garbage, find_garbage
from curation.inventory import applied_instances, applied_pipelines
from curation.snapshot.verify import verify_snapshot
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
    deleted = delete_garbage(dataset, STAGES, found)

    assert sorted(g.path.split("/")[0] for g in found) == ["aesthetic", "inspect"]
    assert all(len(names) == 2 for names in before.values())
    assert deleted == found
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


def test_a_fit_is_found_by_its_key_whatever_the_instance_is_called(folder):
    """A pin of a pipeline's instance stays, with what it names, also where that takes another."""
    dataset = opened(folder)
    stages = "stages:\n  embed: {}\n  topics: {stage: categorize, artifact: '89ab'}"
    text = (folder / "kept.yaml").read_text().replace("stages:", stages)
    dataset.store.put("pipelines/topics.yaml", text.replace("name: kept", "name: topics").encode())
    topics = next(
        i
        for i in applied_instances(dataset, applied_pipelines(dataset)["topics"], STAGES)
        if i.name == "topics"
    )
    dataset.store.put("artifacts/categories/0123/centers.npy", b"x")
    pin = b'{"digest": "0123", "instance": "categories", "format": 1}'
    assert topics.meaning is not None
    dataset.store.put(f"pins/{topics.meaning.fit_key()}.json", pin)

    used = [g.path for g in find_garbage(dataset, STAGES, NEVER, later(seconds=1))]
    dataset.store.delete("pipelines/topics.yaml")
    unused = [g.path for g in find_garbage(dataset, STAGES, NEVER, later(seconds=1))]

    assert [path for path in used if path.startswith(("pins", "artifacts"))] == []
    assert unused[-1] == "artifacts/categories/0123"


def test_what_a_folder_in_use_was_computed_with_stays(folder):
    """Its lineage names the digest, and the files may lie under any instance's name."""
    dataset = opened(folder)
    place = max(dataset.store.files("aesthetic"), key=lambda n: dataset.store.details(n)[n][1])
    path = "/".join([*place.split("/")[:2], "stage.json"])
    live = [g.path for g in find_garbage(dataset, STAGES, NEVER, later(seconds=1))]
    assert place.rsplit("/", 2)[0] not in live
    lineage = json.loads(dataset.store.read(path)) | {"artifact": "0123"}
    dataset.store.put(path, json.dumps(lineage).encode())
    dataset.store.put("artifacts/old/0123/centers.npy", b"x")
    dataset.store.put("artifacts/old/4567/centers.npy", b"x")

    found = [g.path for g in find_garbage(dataset, STAGES, NEVER, later(seconds=1))]

    assert [path for path in found if path.startswith("artifacts")] == ["artifacts/old/4567"]


def test_a_snapshot_that_was_finished_since_is_left_alone(folder, monkeypatch):
    """Killed before its manifest it is garbage; made again, it is none, though already listed."""

    class KilledError(Exception):
        pass

    def kill(point, path):
        if point == "before" and path.endswith("manifest.json"):
            raise KilledError

    monkeypatch.setattr(storage, "fault_hook", kill)
    with pytest.raises(KilledError):
        publish(folder / "kept.yaml")
    monkeypatch.setattr(storage, "fault_hook", None)
    dataset = opened(folder)
    found = find_garbage(dataset, STAGES, NEVER, later(seconds=1))
    assert [g for g in found if g.path.startswith("snapshots")]
    dates = {name: (folder / "dataset" / name).stat() for name in dataset.store.files("snapshots")}
    snapshot = publish(folder / "kept.yaml")
    for name, stat in dates.items():  # a coarse clock would not tell that they were put again
        os.utime(folder / "dataset" / name, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    delete_garbage(dataset, STAGES, found)

    assert verify_snapshot(dataset, snapshot) == []


def test_what_a_pipeline_refers_to_again_or_a_run_writes_again_is_left_alone(folder):
    """Of two folders that were garbage when they were listed, both have a use now."""
    dataset = opened(folder)
    found = find_garbage(dataset, STAGES, NEVER, later(seconds=1))
    aesthetic, inspect = sorted(found, key=lambda g: g.path)
    path = next(name for name in aesthetic.files if name.endswith(".parquet"))
    dataset.store.put(path, dataset.store.read(path))
    text = (folder / "kept.yaml").read_text().replace("inspect: {hasher: imagehash}", "inspect: {}")
    text = text.replace("name: kept", "name: before").replace("  aesthetic: {}\n", "")
    dataset.store.put("pipelines/before.yaml", text.encode())

    deleted = delete_garbage(dataset, STAGES, found)

    assert deleted == []
    assert all(dataset.store.exists(name) for g in found for name in g.files)
    assert inspect.path not in [
        g.path for g in find_garbage(dataset, STAGES, NEVER, later(seconds=1))
    ]


def test_a_pipeline_that_cannot_be_read_stops_everything(folder):
    """Nobody can say what it refers to, so nothing is called garbage."""
    (folder / "dataset" / "pipelines" / "new.yaml").write_text("name: new\nfuture: 1\n")
    with pytest.raises(ConfigError, match="future"):
        find_garbage(opened(folder), STAGES, NEVER, later())
