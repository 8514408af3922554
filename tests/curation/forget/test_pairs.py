"""Pairs of forgotten images: named, and their prompts taken out, on the record."""

import datetime as dt
import json
import shutil
from collections import Counter

import pyarrow as pa
import pytest

from curation import storage
from curation.dataset import Dataset
from curation.forget import Request, erase, find
from curation.garbage import find_garbage
from curation.snapshot.read import list_snapshots, read_manifest, read_parts
from curation.snapshot.verify import amendment_notes, verify_snapshot
from curation.sql import open_tables
from jobs.snapshot import create_snapshot
from stages.registry import STAGES
from tests.curation.cli.cli_runs import longtail
from tests.curation.kept_dataset import run, write_pipeline


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A dataset with a snapshot of three pairs; copied before each use."""
    folder = tmp_path_factory.mktemp("made")
    pipeline = write_pipeline(folder)
    dataset = run(pipeline)
    kept = pa.concat_tables(read_parts(dataset, create_snapshot(pipeline).manifest, "data"))
    shutil.rmtree(folder / "dataset" / "snapshots")
    ids = [image_id.hex() for image_id in kept["image_id"].to_pylist()]
    pairs = [
        {"prompt": "first words", "winner": ids[0], "loser": ids[1]},
        {"prompt": "other words", "winner": ids[2], "loser": ids[0]},
        {"prompt": "own words", "winner": ids[0], "loser": ids[0]},
        {"prompt": "kept words", "winner": ids[3], "loser": ids[4]},
    ]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    create_snapshot(pipeline, preferences=str(folder / "pairs.jsonl"))
    return folder, ids


@pytest.fixture
def dataset(made, tmp_path):
    shutil.copytree(made[0] / "dataset", tmp_path / "dataset")
    return Dataset.open(str(tmp_path / "dataset"))


def pairs_of(dataset):
    (manifest,) = list_snapshots(dataset)
    return pa.concat_tables(read_parts(dataset, manifest, "preferences")).to_pylist()


def prompts_of(dataset):
    return sorted(pair["prompt"] for pair in pairs_of(dataset) if pair["prompt"])


def forget(dataset, *ids):
    found = find(dataset, Request(frozenset(bytes.fromhex(i) for i in ids)), STAGES)
    return found, erase(dataset, found, "asked to", "", purge=False)


def test_prompts_go_and_the_snapshot_says_so(dataset, made):
    """Of every pair that names the image, kept or not; ids and the snapshot's own id stay."""
    before = pairs_of(dataset)
    (manifest,) = list_snapshots(dataset)

    found, done = forget(dataset, made[1][0])

    assert found.taints[0].num_pairs == 3
    assert prompts_of(dataset) == ["kept words"]
    after = pairs_of(dataset)
    assert [{**pair, "prompt": None} for pair in before] == [{**p, "prompt": None} for p in after]
    path = f"snapshots/{manifest.id}/preferences/shard-00000.parquet"
    assert done.snapshot_files == (path,)
    assert verify_snapshot(dataset, manifest.id) == []
    assert amendment_notes(dataset, manifest.id)[0].startswith(f"{path}: amended")
    assert read_manifest(dataset, manifest.id) == manifest
    assert forget(dataset, made[1][0])[1].snapshot_files == ()


def test_killed_between_record_and_file_it_is_finished_by_another_call(dataset, made, monkeypatch):
    """Until then the snapshot says that it is not finished."""
    (manifest,) = list_snapshots(dataset)

    def kill(point, name):
        if point == "before" and "/preferences/" in name:
            raise KeyboardInterrupt

    monkeypatch.setattr(storage, "fault_hook", kill)
    with pytest.raises(KeyboardInterrupt):
        forget(dataset, made[1][0])
    monkeypatch.setattr(storage, "fault_hook", None)

    (fault,) = verify_snapshot(dataset, manifest.id)
    assert "an amendment was begun and not finished" in fault
    forget(dataset, made[1][0])
    assert verify_snapshot(dataset, manifest.id) == []
    assert prompts_of(dataset) == ["kept words"]


def test_two_calls_at_once_bring_no_prompt_back(dataset, made, monkeypatch):
    """What is left in the end is without either."""
    waiting = [made[1][3]]

    def interrupt(point, name):
        if point == "before" and "/preferences/" in name and waiting:
            forget(dataset, waiting.pop())

    monkeypatch.setattr(storage, "fault_hook", interrupt)
    forget(dataset, made[1][0])

    assert not waiting
    assert prompts_of(dataset) == []
    assert verify_snapshot(dataset, list_snapshots(dataset)[0].id) == []


def test_a_snapshot_that_only_names_an_image_is_named(made, tmp_path):
    """Although it keeps none: the words are taken out of it, too."""
    folder, ids = made
    shutil.copytree(folder / "dataset", tmp_path / "dataset")
    dataset = Dataset.open(str(tmp_path / "dataset"))
    shutil.rmtree(tmp_path / "dataset" / "snapshots")
    create_snapshot(
        folder / "kept.yaml",
        [f"dataset={tmp_path / 'dataset'}", "snapshot.where={none: inspect_width < 0}"],
        preferences=str(folder / "pairs.jsonl"),
    )

    found, done = forget(dataset, ids[0])

    assert [(taint.num_images, taint.num_pairs) for taint in found.taints] == [(0, 3)]
    assert len(done.snapshot_files) == 1
    assert prompts_of(dataset) == ["kept words"]


def test_the_command_counts_pairs(dataset, made, capsys):
    """For people and for programs."""
    asked = ("forget", dataset.store.root, made[1][0])

    (taint,) = json.loads(longtail(capsys, *asked, "--json").out)["tainted_snapshots"]
    said = longtail(capsys, *asked).out

    assert (taint["images"], taint["pairs"]) == (1, 3)
    assert "names them in 3 pairs of preferred images, whose prompts are taken out" in said


def test_pairs_and_derived_files_are_no_garbage(dataset):
    """They are their snapshot's; without its manifest they are what was never finished."""
    (manifest,) = list_snapshots(dataset)
    dataset.store.put(f"snapshots/{manifest.id}/derived/reference_errors/x/meaning.json", b"{}")
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)

    def garbage():
        return find_garbage(dataset, STAGES, dt.timedelta(0), later)

    assert garbage() == []
    dataset.store.delete(f"snapshots/{manifest.id}/manifest.json")
    found = {name: entry for entry in garbage() for name in entry.files}
    assert f"snapshots/{manifest.id}/preferences/shard-00000.parquet" in found


def test_pairs_are_a_table_of_sql(dataset):
    """Where any snapshot has some, beside the decisions."""
    tables = open_tables(dataset, STAGES)
    query = "SELECT coalesce(reason, 'kept') AS why, count(*) AS n FROM preferences GROUP BY 1"

    with tables.query(f"{query} ORDER BY 1") as result:
        found = result.read().to_pylist()

    counts = Counter(pair["reason"] or "kept" for pair in pairs_of(dataset))
    assert {row["why"]: row["n"] for row in found} == counts
    assert counts["same_image"] == 1
    assert list(tables.tables)[-3:] == ["decisions", "preferences", "snapshots"]
