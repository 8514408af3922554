"""Fits: the sample is drawn by hash, the artefact is written once and pinned last."""

import json
import os

import pytest

from curation.dataset import Dataset
from curation.draw import draw_hashes
from curation.errors import DatasetError, LongtailError
from curation.fingerprint import digest_files
from curation.pipeline.fit import (
    NothingToFitError,
    check_artifact,
    find_pin,
    read_artifact,
    run_fit,
)
from curation.pipeline.fit_sample import draw_sample
from curation.storage import Store
from schemas.dataset import artifact_folder, pin_path
from tests.fakes.inline_runner import InlineRunner
from tests.fakes.lake import image_bytes, make_lake, write_files
from tests.fakes.runs import find, make_session, read_instance

READS = ("luma.mean",)


@pytest.fixture
def lake(tmp_path):
    return make_lake(tmp_path / "lake", 12)


@pytest.fixture
def open_fit(tmp_path, lake):
    """Annotate the lake; return the session, the dataset, the fit's instance and all instances."""

    def start(**run):
        session = make_session(tmp_path / "data", lake, {"luma": {}}, **run)
        assert session.run(InlineRunner, runner_name="inline").complete
        session = make_session(tmp_path / "data", lake, {"luma": {}, "middle": {}}, **run)
        dataset = Dataset.open(session.config.dataset)
        instances = {instance.name: instance for instance in session.instances(dataset)}
        return session, dataset, instances["middle"], instances

    return start


def test_the_sample_is_the_smallest_hashes(open_fit):
    """Of the rows that have a value, those with the smallest draws, in that order."""
    session, dataset, middle, instances = open_fit()
    table = read_instance(session, "luma")
    rows = table.filter(table["luma_mean"].is_valid())
    ids, means = rows["image_id"].to_pylist(), rows["luma_mean"].to_pylist()
    draws = draw_hashes(ids, 7).tolist()
    assert len(rows) == 13
    expected = sorted(zip(draws, ids, means, strict=True))[:5]

    sample = draw_sample(dataset, middle, instances, READS, 5, 7)

    assert sample.column_names == ["image_id", "luma.mean"]
    assert sample["image_id"].to_pylist() == [image_id for _, image_id, _ in expected]
    assert sample["luma.mean"].to_pylist() == [mean for _, _, mean in expected]


def test_another_seed_draws_others(open_fit):
    """And the same seed the same."""
    _, dataset, middle, instances = open_fit()
    drawn = [draw_sample(dataset, middle, instances, READS, 5, seed) for seed in (7, 8, 7)]

    assert drawn[0].equals(drawn[2])
    assert set(drawn[0]["image_id"].to_pylist()) != set(drawn[1]["image_id"].to_pylist())


def test_a_sample_may_be_everything(open_fit):
    """Asked for more than there is, it holds every row that has what is read."""
    _, dataset, middle, instances = open_fit()

    assert len(draw_sample(dataset, middle, instances, READS, 1000, 7)) == 13


def test_an_image_counts_once_however_often_it_was_taken_in(open_fit, lake):
    """A file that changed and changed back has two rows of one id."""
    key = "d0/img000.png"
    other = image_bytes("other.png")
    open_fit()
    write_files(lake, [(key, other)])
    open_fit()
    write_files(lake, [(key, image_bytes(key))])
    session, dataset, middle, instances = open_fit()
    ids = read_instance(session, "luma")["image_id"].to_pylist()
    assert len(ids) == 17
    assert len(set(ids)) == 16

    sample = draw_sample(dataset, middle, instances, READS, 1000, 7)["image_id"].to_pylist()

    assert len(sample) == len(set(sample)) == 14


def test_a_fit_leaves_an_artefact_and_a_pin(open_fit):
    """The pin names the digest of the files that the stage returned."""
    session, dataset, middle, instances = open_fit()
    assert find_pin(dataset, middle.meaning.fit_key()) is None

    assert run_fit(dataset, middle, instances) == 13

    digest = find_pin(dataset, middle.meaning.fit_key())
    assert digest is not None
    files = read_artifact(dataset, "middle", digest)
    means = sorted(read_instance(session, "luma")["luma_mean"].drop_null().to_pylist())
    assert files == {"median.json": json.dumps(means[6]).encode()}
    assert digest == digest_files(files)
    assert find(session, "middle").artifact == digest


def test_the_first_pin_stands(open_fit):
    """Of two that fit at the same time, both go on with one artefact; no refit changes it."""
    _, dataset, middle, instances = open_fit()
    path = pin_path(middle.meaning.fit_key())
    dataset.store.create(path, b'{"digest": "of the other"}')

    run_fit(dataset, middle, instances)

    assert find_pin(dataset, middle.meaning.fit_key()) == "of the other"


def test_a_changed_artefact_is_refused(open_fit):
    """A model that was touched is never used silently."""
    _, dataset, middle, instances = open_fit()
    run_fit(dataset, middle, instances)
    digest = find_pin(dataset, middle.meaning.fit_key())
    assert digest is not None
    dataset.store.put(f"{artifact_folder('middle', digest)}/median.json", b"7")

    key = pin_path(middle.meaning.fit_key())
    wrong = f"{artifact_folder('middle', digest)}: the artefact was changed; .*delete .*, {key} to"
    with pytest.raises(LongtailError, match=wrong):
        read_artifact(dataset, "middle", digest)
    with pytest.raises(LongtailError, match="the artefact is missing; restore it, or") as caught:
        read_artifact(dataset, "middle", "0" * 32)
    assert "delete" not in str(caught.value)


def test_a_large_artefact_is_read_once_and_refused_once_it_changes(tmp_path, monkeypatch):
    """By every plan and run; also where the time of change is put back."""
    monkeypatch.setenv("LONGTAIL_CACHE", str(tmp_path / "cache"))
    dataset = Dataset.open_or_create(str(tmp_path / "data"))
    files = {"head.json": b"{}", "head.safetensors": bytes(2 << 20)}
    digest = digest_files(files)
    for name, data in files.items():
        dataset.store.put(f"{artifact_folder('middle', digest)}/{name}", data)
    head = tmp_path / "data" / artifact_folder("middle", digest) / "head.safetensors"
    read = []
    really = Store.read

    def count(store, name):
        read.append(name)
        return really(store, name)

    monkeypatch.setattr(Store, "read", count)

    check_artifact(dataset, "middle", digest)
    assert len(read) == 2
    check_artifact(dataset, "middle", digest)
    assert len(read) == 2
    times = head.stat().st_atime_ns, head.stat().st_mtime_ns
    head.write_bytes(b"x" + bytes((2 << 20) - 1))
    os.utime(head, ns=times)

    for _ in range(2):
        with pytest.raises(DatasetError, match="the artefact was changed"):
            check_artifact(dataset, "middle", digest)
    head.unlink()
    with pytest.raises(DatasetError, match="the artefact was changed"):
        check_artifact(dataset, "middle", digest)
    with pytest.raises(DatasetError, match="the artefact is missing"):
        check_artifact(dataset, "middle", "0" * 32)


def test_a_lost_artefact_says_how_to_fit_anew(open_fit):
    """The sentence names the pin, and deleting that is enough."""
    session, dataset, middle, instances = open_fit()
    run_fit(dataset, middle, instances)
    digest = find_pin(dataset, middle.meaning.fit_key())
    for file in dataset.store.files("artifacts"):
        dataset.store.delete(file)
    key = pin_path(middle.meaning.fit_key())

    with pytest.raises(LongtailError, match=f"is missing; .*, or delete {key} to fit anew$"):
        session.plan(dataset)

    dataset.store.delete(key)
    assert session.run(InlineRunner, runner_name="inline").complete
    assert find_pin(dataset, middle.meaning.fit_key()) == digest


def test_an_instance_may_be_renamed_after_its_fit(open_fit, tmp_path, lake):
    """Its name is no part of the meaning: the same pin, and the artefact where it was made."""
    session, dataset, _, _ = open_fit()
    assert session.run(InlineRunner, runner_name="inline").complete
    artifacts = dataset.store.files("artifacts")

    renamed = make_session(tmp_path / "data", lake, {"luma": {}, "renamed": {"stage": "middle"}})
    assert renamed.run(InlineRunner, runner_name="inline").complete

    assert dataset.store.files("artifacts") == artifacts
    was, now = read_instance(session, "middle"), read_instance(renamed, "renamed")
    assert now["renamed_above"].equals(was["middle_above"])


def test_a_named_artefact_may_lie_below_another_name(open_fit, tmp_path, lake):
    """`artifact: DIGEST` says what, not where."""
    session, dataset, middle, _ = open_fit()
    assert session.run(InlineRunner, runner_name="inline").complete
    digest = find_pin(dataset, middle.meaning.fit_key())

    stages = {"luma": {}, "other": {"stage": "middle", "artifact": digest}}
    other = make_session(tmp_path / "data", lake, stages)

    assert other.run(InlineRunner, runner_name="inline").complete
    assert len(dataset.store.files("artifacts")) == 1


def test_nothing_to_fit_on_is_said(tmp_path):
    """A lake without one readable image gives no model, and the sentence names the column."""
    write_files(tmp_path / "lake", [("a.png", b""), ("b.png", b"no image")])
    session = make_session(tmp_path / "data", tmp_path / "lake", {"luma": {}, "middle": {}})
    luma_only = make_session(tmp_path / "data", tmp_path / "lake", {"luma": {}})
    assert luma_only.run(InlineRunner, runner_name="inline").complete
    dataset = Dataset.open(session.config.dataset)
    instances = {instance.name: instance for instance in session.instances(dataset)}

    with pytest.raises(NothingToFitError, match="middle: no row has luma.mean"):
        run_fit(dataset, instances["middle"], instances)
