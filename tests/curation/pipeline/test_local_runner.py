"""Local children: what they leave when the run is stopped, and what they refuse."""

import functools
from types import SimpleNamespace

import pytest

from curation.errors import ResourceError
from curation.ingest.work_list import freeze_lists
from curation.pipeline import local_runner, waves
from curation.pipeline.dispatch import Dispatch
from curation.pipeline.local_runner import LocalRunner
from curation.pipeline.runner import Pool
from curation.pipeline.tasks import WorkerSpec
from tests.fakes.lake import image_bytes, write_files
from tests.fakes.runs import make_session, read_instance, run

KEYS = [f"img{n}.png" for n in range(4)]


def test_an_interrupted_run_marks_no_row(tmp_path):
    """Ctrl-C in the middle of a row kills the child, which is no crash of that row."""
    write_files(tmp_path / "lake", [(key, image_bytes(key)) for key in KEYS])
    once = tmp_path / "once"
    stages = {"luma": {}, "bad": {"what": "hang", "key": "img2", "once": str(once)}}
    session = make_session(tmp_path / "data", tmp_path / "lake", stages)
    dataset = session.create_dataset()
    assert session.config.source is not None
    list(freeze_lists(dataset, session.config.source))
    settings = session.config.run
    spec = WorkerSpec(
        dataset.store.url,
        session.instances(dataset),
        session.config.source,
        settings.row_timeout_s,
        settings.task_timeout_s,
    )
    noted: list[object] = []
    dispatch = Dispatch(
        spec.dependants, lambda step, name: [], lambda *charge: noted.append(charge), noted.append
    )
    for task in session.plan(dataset).tasks:
        dispatch.add(task)

    def interrupt():
        if once.exists():
            raise KeyboardInterrupt

    runner = LocalRunner()
    with pytest.raises(KeyboardInterrupt):
        runner.run(spec, session.pools(spec.instances), dispatch, None, interrupt)
    runner.close()

    assert noted == []
    assert not [name for name in dataset.store.files("bad") if name.endswith(".parquet")]

    assert run(session).complete
    assert read_instance(session, "bad")["bad_error"].null_count == len(KEYS)


def test_while_all_workers_rest_the_runner_waits(tmp_path, monkeypatch):
    """A task that nobody may take now is neither given up nor asked for without a pause."""
    write_files(tmp_path / "lake", [(key, image_bytes(key)) for key in KEYS])
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    monkeypatch.setattr(local_runner, "time", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(waves, "Dispatch", functools.partial(Dispatch, clock=lambda: now[0]))
    stages = {"luma": {}, "bad": {"what": "refused", "once": str(tmp_path / "once")}}

    summary = run(make_session(tmp_path / "data", tmp_path / "lake", stages, workers=1))

    assert summary.complete
    assert summary.facts == {"hindrances": 1}
    assert 1.0 <= now[0] < 1.5


def test_gpus_environments_and_more_memory_than_there_is_are_refused():
    """With a sentence, before anything starts."""
    with pytest.raises(ResourceError, match="clip asks for 1 GPU.*--runner ray.*run.device=cpu"):
        LocalRunner().check([Pool("clip", 1, None, 1.0, 1.0, 1 << 30)])
    with pytest.raises(ResourceError, match=r"vllm asks for run\.runtime_env.*--runner ray"):
        LocalRunner().check(
            [Pool("vllm", 1, None, 1.0, 0.0, 1 << 30, runtime_env={"py_executable": "python3"})]
        )
    with pytest.raises(ResourceError, match=r"asks for lens by run\.resources.*--runner ray"):
        LocalRunner().check([Pool("clip", 1, None, 1.0, 0.0, 1 << 30, resources={"lens": 1.0})])
    with pytest.raises(ResourceError, match="cpu asks for .* MB a worker.*run.memory_bytes"):
        LocalRunner().check([Pool("cpu", 1, None, 1.0, 0.0, 1 << 50)])


def test_a_pool_of_some_size_has_a_worker_a_core(monkeypatch):
    """Within its limits; a number is a number."""
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    sizes = {(1, 8): 3, (2, 2): 2, (4, 8): 4, (1, None): 1, (1, 1): 1}

    for (least, most), size in sizes.items():
        assert local_runner._size(Pool("clip", least, most, 1.0, 0.0, 1 << 30)) == size
    assert local_runner._size(Pool("cpu", 1, None, 1.0, 0.0, 1 << 30)) == 3
    assert local_runner._size(Pool("cpu", 1, 7, 1.0, 0.0, 1 << 30)) == 7
