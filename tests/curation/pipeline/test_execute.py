"""A task inside the child: who writes an image shard, and what is loaded once."""

from dataclasses import replace

import pyarrow as pa
import pytest

from curation import storage
from curation.ingest.make_shard import make_image_shard
from curation.ingest.tombstones import read_tombstones
from curation.ingest.work_list import freeze_lists
from curation.pipeline.execute import Executor
from curation.pipeline.progress import Progress
from curation.pipeline.tasks import WorkerSpec
from curation.tables import read_table, write_table
from schemas import dataset as paths
from tests.fakes.lake import image_bytes, write_files
from tests.fakes.runs import make_session, read_instance

KEYS = [f"img{n}.png" for n in range(3)]


@pytest.fixture
def progress():
    progress = Progress.create()
    yield progress
    progress.close()


@pytest.fixture
def begin(tmp_path):
    """List the source; return a session, what a worker is told, and the only task."""
    write_files(tmp_path / "lake", [(key, image_bytes(key)) for key in KEYS])

    def start(stages):
        session = make_session(tmp_path / "data", tmp_path / "lake", stages)
        dataset = session.create_dataset()
        assert session.config.source is not None
        list(freeze_lists(dataset, session.config.source))
        spec = WorkerSpec(
            dataset.store.url, session.instances(dataset), session.config.source, 60.0, 60.0
        )
        (task,) = session.plan(dataset).tasks
        return session, spec, task

    return start


def test_the_first_image_shard_stands(begin, progress, monkeypatch, tmp_path):
    """Of two writers the second goes on with what the first has read."""
    session, spec, task = begin({"luma": {}})
    dataset = session.create_dataset()
    path = paths.images_path(0)
    lost = tmp_path / "lake" / KEYS[1]

    def be_first(point, name):
        """Let another worker, which could not read one file, write the shard first."""
        if (point, name) == ("before", path) and lost.exists():
            lost.unlink()
            rows = dataset.read_list(*task.work_list)
            write_table(
                dataset.store, path, make_image_shard(rows, spec.source, read_tombstones(dataset))
            )

    monkeypatch.setattr(storage, "fault_hook", be_first)
    result = Executor(spec, progress).run(task, {})

    assert result.is_done
    assert result.steps["images"].errors == {"changed": 1}
    errors = read_instance(session, "luma")["luma_error"].to_pylist()
    assert [error is None for error in errors] == [True, False, True]
    assert errors[1].startswith("changed: ")


def luma_path(spec):
    return paths.instance_path("luma", spec.instance("luma").fingerprint, 0)


def without(task, *steps):
    """Return the task as it is planned once some steps have their files."""
    return replace(task, steps=tuple(step for step in task.steps if step not in steps))


def test_an_unreadable_input_is_charged_to_its_reader_alone(begin, progress):
    """The words name the broken file, and a step that does not read it is done, first or not."""
    session, spec, task = begin({"luma": {}, "bad": {}, "double": {}, "echo": {}})
    dataset = session.create_dataset()
    executor = Executor(spec, progress)
    assert executor.run(replace(task, steps=("images", "luma")), {}).is_done
    dataset.store.put(luma_path(spec), b"PAR1 no more")

    steps = without(task, "images", "luma").steps
    for order in (steps, ("double", "bad", "echo")):
        result = executor.run(replace(task, steps=order), {})

        assert {name: step.status for name, step in result.steps.items()} == {
            "bad": "done",
            "echo": "done",
            "double": "failed",
        }
        assert luma_path(spec) in result.steps["double"].text
        assert not result.hindrance


def test_an_unreadable_image_shard_is_charged_to_the_first_step(begin, progress):
    """All steps need it, and it is named; the others go again without a charge."""
    session, spec, task = begin({"luma": {}, "bad": {}})
    dataset = session.create_dataset()
    executor = Executor(spec, progress)
    assert executor.run(replace(task, steps=("images",)), {}).is_done
    dataset.store.put(paths.images_path(0), b"PAR1 no more")

    result = executor.run(without(task, "images"), {})

    assert {name: step.status for name, step in result.steps.items()} == {
        "luma": "failed",
        "bad": "skipped",
    }
    assert paths.images_path(0) in result.steps["luma"].text


@pytest.fixture
def be_first(monkeypatch):
    """Let another worker write the file of `luma` just before this one does."""

    def arrange(dataset, spec, change):
        path = luma_path(spec)
        done: list[str] = []

        def write(point, name):
            if (point, name) == ("before", path) and not done:
                done.append(name)
                write_table(dataset.store, path, change)

        monkeypatch.setattr(storage, "fault_hook", write)
        return done

    return arrange


def test_the_first_file_of_a_step_stands_and_its_readers_go_again(
    begin, progress, be_first, tmp_path
):
    """What was computed from other values than those on disk is not written; the rest is."""
    session, spec, task = begin({"luma": {}, "double": {}, "bad": {}})
    dataset = session.create_dataset()
    executor = Executor(spec, progress)
    assert executor.run(replace(task, steps=("images", "luma")), {}).is_done
    other = read_table(dataset.store, luma_path(spec))
    means = pa.array([7, 7, None], pa.int32())
    errors = pa.array([None, None, "unavailable: for now"])
    other = other.set_column(3, "luma_mean", means).set_column(4, "luma_error", errors)
    dataset.store.delete(luma_path(spec))
    done = be_first(dataset, spec, other)

    result = executor.run(without(task, "images"), {})

    assert done
    statuses = {name: step.status for name, step in result.steps.items()}
    assert statuses == {"luma": "done", "double": "skipped", "bad": "done"}
    assert result.steps["luma"].errors == {"unavailable": 1}
    assert not result.hindrance
    assert read_instance(session, "luma")["luma_mean"].to_pylist() == [7, 7, None]
    assert executor.run(without(task, "images", "luma", "bad"), {}).is_done
    assert read_instance(session, "double")["double_value"].to_pylist() == [14, 14, None]


def test_a_second_writer_with_the_same_values_goes_on(begin, progress, be_first):
    """Nothing is computed again for a file that is what this task made."""
    session, spec, task = begin({"luma": {}, "double": {}})
    dataset = session.create_dataset()
    executor = Executor(spec, progress)
    assert executor.run(replace(task, steps=("images", "luma")), {}).is_done
    same = read_table(dataset.store, luma_path(spec))
    dataset.store.delete(luma_path(spec))
    done = be_first(dataset, spec, same)

    assert executor.run(without(task, "images"), {}).is_done
    assert done


def test_stages_outlive_a_change_of_the_specification(begin, progress):
    """After a fit workers are told anew, and what they have loaded stays loaded."""
    _, spec, task = begin({"luma": {}})
    first = Executor(spec, progress)
    assert first.run(task, {}).is_done

    second = Executor(replace(spec, row_timeout_s=61.0), progress, first.loaded)

    assert second.run(task, {}).is_done
    luma = spec.instance("luma")
    assert second.loaded.get(luma, pytest.fail) is first.loaded.get(luma, pytest.fail)
