"""A task inside the child: who writes an image shard, and what is loaded once."""

from dataclasses import replace

import pytest

from curation import storage
from curation.ingest.make_shard import make_image_shard
from curation.ingest.tombstones import read_tombstones
from curation.ingest.work_list import freeze_lists
from curation.pipeline.execute import Executor
from curation.pipeline.progress import Progress
from curation.pipeline.tasks import WorkerSpec
from curation.tables import write_table
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


def test_stages_outlive_a_change_of_the_specification(begin, progress):
    """After a fit workers are told anew, and what they have loaded stays loaded."""
    _, spec, task = begin({"luma": {}})
    first = Executor(spec, progress)
    assert first.run(task, {}).is_done

    second = Executor(replace(spec, row_timeout_s=61.0), progress, first.stages)

    assert second.run(task, {}).is_done
    (name,) = first.stages
    assert second.stages[name] is first.stages[name]
