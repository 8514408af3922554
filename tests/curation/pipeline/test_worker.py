"""A worker turns the death of its child into data: of a row, or of the step that ran."""

import pytest

from curation.ingest.work_list import freeze_lists
from curation.pipeline import worker as worker_module
from curation.pipeline.tasks import WorkerSpec
from curation.pipeline.worker import ShardWorker
from tests.fakes import decode
from tests.fakes.lake import image_bytes, write_files
from tests.fakes.runs import make_session, read_instance

MARKER = b"breaks the decoder"
NUM_IMAGES = 5
TIMEOUT_S = 0.5
"""Far more than a row of these takes; a row that is slow all the same is run again alone."""


@pytest.fixture
def lake(tmp_path):
    """One shard of whole images, whose rows are numbered as their keys; decoders skip the tail."""
    keys = [f"img{n}.png" for n in range(NUM_IMAGES)]
    files = [(key, image_bytes(key)) for key in keys[:-1]]
    write_files(tmp_path / "lake", [*files, (keys[-1], image_bytes(keys[-1]) + MARKER)])
    return tmp_path / "lake"


@pytest.fixture(scope="module")
def worker():
    """One worker for all tests: its child is told anew with every pipeline."""
    worker = ShardWorker(memory_bytes=4 << 30)
    yield worker
    worker.close()


@pytest.fixture
def new_worker():
    """A worker whose child does not run yet, so that it sees the test's environment."""
    worker = ShardWorker(memory_bytes=4 << 30)
    yield worker
    worker.close()


@pytest.fixture
def begin(tmp_path, lake):
    """List the source; return a session, what a worker is told, and the only task."""

    def start(stages, **run):
        session = make_session(tmp_path / "data", lake, stages, **run)
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
        (task,) = session.plan(dataset).tasks
        return session, spec, task

    return start


def bad(what, key="", **settings):
    return {"what": what, "key": key, "run": {"row_timeout_s": TIMEOUT_S}, **settings}


def test_trouble_with_a_row_costs_that_row_of_that_stage(begin, worker):
    """Its neighbours have values, and so has the row for every other stage."""
    reasons = {
        "segfault": "crashed: SIGSEGV",
        "exit": "crashed: exit code 3",
        "eat_memory": "memory: more than 4096 MB were needed",
        "hang": "timeout: no answer within 0.5 s",
    }
    stages = {what: {"stage": "bad", **bad(what, f"img{n}")} for n, what in enumerate(reasons)}
    session, spec, task = begin({"luma": {}, **stages})

    result = worker.run(spec, task)

    assert result.is_done
    assert result.restarts == len(reasons)
    for victim, (what, reason) in enumerate(reasons.items()):
        table = read_instance(session, what)
        rows = range(NUM_IMAGES)
        assert table[f"{what}_error"].to_pylist() == [reason if n == victim else None for n in rows]
        assert table[f"{what}_length"].to_pylist() == [None if n == victim else 8 for n in rows]
        assert result.steps[what].errors == {reason.split(":")[0]: 1}
    assert read_instance(session, "luma")["luma_error"].null_count == NUM_IMAGES


def test_every_bad_row_is_found(begin, worker):
    """A child for each of them, and the shard is whole in the end."""
    session, spec, task = begin({"bad": bad("segfault", "img")})

    result = worker.run(spec, task)

    assert result.is_done
    assert result.restarts == NUM_IMAGES
    errors = read_instance(session, "bad")["bad_error"].to_pylist()
    assert errors == ["crashed: SIGSEGV"] * NUM_IMAGES


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("segfault", "crashed: SIGSEGV"),
        ("eat_memory", "memory: more than 4096 MB were needed"),
        ("hang", "timeout: no answer within 0.5 s"),
    ],
)
def test_trouble_in_the_shared_decode_costs_the_row_for_all_with_pixels(
    begin, new_worker, monkeypatch, what, reason
):
    """Nobody can be named, so every stage that wanted to see the image gets the reason."""
    monkeypatch.setenv(decode.VARIABLE, f"{what}:{MARKER.decode()}")
    stages = {"one": {"stage": "luma"}, "two": {"stage": "luma", "size_px": 4}, "bad": {}}
    session, spec, task = begin(stages, row_timeout_s=TIMEOUT_S)

    result = new_worker.run(spec, task)

    assert result.is_done
    for name in ("one", "two"):
        errors = read_instance(session, name)[f"{name}_error"].to_pylist()
        assert errors == [None] * (NUM_IMAGES - 1) + [reason]
    assert read_instance(session, "bad")["bad_error"].null_count == NUM_IMAGES


@pytest.mark.parametrize(
    ("what", "code", "text"),
    [
        ("segfault", "crashed", "SIGSEGV"),
        ("exit", "crashed", "exit code 3"),
        ("eat_memory", "memory", "more than 4096 MB were needed"),
        ("raise", "exception", "ValueError: told to"),
        ("setup", "exception", "ValueError: told to"),
    ],
)
def test_trouble_outside_the_row_loop_fails_the_shard_of_that_stage(
    begin, worker, what, code, text
):
    """There is no row to blame; what reads the stage is not run, and not charged."""
    _, spec, task = begin({"bad": bad(what), "echo": {}})

    result = worker.run(spec, task)

    assert not result.is_done
    assert {name: step.status for name, step in result.steps.items() if name != "images"} == {
        "bad": "failed",
        "echo": "skipped",
    }
    assert (result.steps["bad"].code, result.steps["bad"].text) == (code, text)


def test_a_hang_outside_the_row_loop_ends_with_the_task(begin, worker):
    """The limit of the whole task ends what no row's limit reaches."""
    _, spec, task = begin({"bad": bad("hang")}, task_timeout_s=2)

    result = worker.run(spec, task)

    failed = result.steps["bad"]
    assert (failed.status, failed.code, failed.text) == ("failed", "timeout", "no answer for 2 s")


@pytest.mark.parametrize("what", ["raise", "nan", "drop_row", "wrong_type"])
def test_stages_beside_a_failing_one_are_done(begin, worker, what):
    """An exception needs no new child, and the others of the task are written."""
    session, spec, task = begin({"luma": {}, "bad": bad(what), "double": {}})

    result = worker.run(spec, task)

    assert result.restarts == 0
    assert [result.steps[name].status for name in task.steps] == ["done", "done", "failed", "done"]
    code = "exception" if what == "raise" else "contract"
    assert result.steps["bad"].code == code
    assert len(read_instance(session, "double")) == NUM_IMAGES


def test_a_time_out_that_does_not_repeat_alone_is_not_marked(begin, worker, tmp_path):
    """A slow moment of the machine is no fact about the image."""
    once = str(tmp_path / "once")
    session, spec, task = begin({"bad": bad("hang", "img3", once=once)})

    result = worker.run(spec, task)

    assert result.is_done
    assert result.restarts == 1
    assert read_instance(session, "bad")["bad_error"].null_count == NUM_IMAGES


def test_a_time_out_that_never_repeats_alone_is_charged(begin, worker, monkeypatch):
    """After some attempts the shard as a whole is at fault, not the row."""
    monkeypatch.setattr(worker_module, "MAX_UNCONFIRMED", 1)
    _, spec, task = begin({"bad": bad("hang_in_company", "img3")})

    result = worker.run(spec, task)

    assert result.restarts == 2
    assert (result.steps["bad"].status, result.steps["bad"].code) == ("failed", "timeout")


def test_too_many_bad_rows_fail_the_shard(begin, worker, monkeypatch):
    """A stage that dies at every row is charged before it has cost a child for each."""
    monkeypatch.setattr(worker_module, "MAX_MARKS", 2)
    _, spec, task = begin({"bad": bad("segfault", "img")})

    result = worker.run(spec, task)

    assert result.restarts == 3
    assert (result.steps["bad"].status, result.steps["bad"].text) == ("failed", "SIGSEGV")


def test_a_worker_goes_on_after_its_child_was_killed(begin, worker):
    """Between two tasks a new child is started, and told everything anew."""
    session, spec, task = begin({"luma": {}})
    assert worker.run(spec, task).is_done
    child = worker._process
    worker.kill()
    child.wait()

    result = worker.run(spec, task)

    assert result.is_done
    assert len(read_instance(session, "luma")) == NUM_IMAGES


def test_what_was_made_before_a_crash_stands(begin, worker, lake):
    """The image shard is not made a second time from a source that may have changed."""
    session, spec, task = begin({"bad": bad("raise")})
    worker.run(spec, task)
    dataset = session.create_dataset()
    before = dataset.store.read("images/00000/shard-00000000.parquet")
    (lake / "img0.png").write_bytes(b"other bytes")

    result = worker.run(spec, task)

    assert result.steps["images"].status == "done"
    assert dataset.store.read("images/00000/shard-00000000.parquet") == before


def test_a_lost_input_is_charged_with_its_name(begin, worker):
    """A file that disappears between plan and work is an exception of the step, not a crash."""
    session, spec, task = begin({"luma": {}, "double": {}})
    assert worker.run(spec, task).is_done
    dataset = session.create_dataset()
    for path in dataset.store.files("luma") + dataset.store.files("double"):
        if path.endswith(".parquet"):
            dataset.store.delete(path)
    alone = type(task)("shard", task.name, ("double",), task.shard)

    result = worker.run(spec, alone)

    assert result.restarts == 0
    assert result.steps["double"].code == "exception"
    assert result.steps["double"].text.startswith("FileNotFoundError")
