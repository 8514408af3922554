"""A worker turns the death of its child into data: of a row, or of the step that ran."""

import os
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

import curation
from curation.ingest.work_list import freeze_lists
from curation.pipeline import worker as worker_module
from curation.pipeline.blocks import current_blocks
from curation.pipeline.tasks import Task, WorkerSpec
from curation.pipeline.worker import ShardWorker, WorkerStoppedError
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


def start_child(worker, spec):
    """Have the child running, so that its start takes nothing of a short time limit."""
    nothing = Task("shard", "nothing", (), 0)
    assert not worker.run(replace(spec, task_timeout_s=60), nothing).hindrance
    assert worker._child.is_alive


def descriptors():
    """Return how many descriptors this process holds."""
    return len(list(Path("/proc/self/fd").iterdir()))


def zombies():
    """Return the ids of children of this process that ended and were not waited for."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended meanwhile
        if state == "Z" and int(parent) == os.getpid():
            found.append(path.parent.name)
    return found


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
    assert result.restarts == 2 * len(reasons), "each dies in company, and then alone"
    for victim, (what, reason) in enumerate(reasons.items()):
        table = read_instance(session, what)
        rows = range(NUM_IMAGES)
        assert table[f"{what}_error"].to_pylist() == [reason if n == victim else None for n in rows]
        assert table[f"{what}_length"].to_pylist() == [None if n == victim else 8 for n in rows]
        assert result.steps[what].errors == {reason.split(":")[0]: 1}
    assert read_instance(session, "luma")["luma_error"].null_count == NUM_IMAGES


def test_every_bad_row_is_found(begin, worker):
    """Two children for each of them, the shard is whole in the end, nothing stays behind."""
    session, spec, task = begin({"bad": bad("segfault", "img")})
    start_child(worker, spec)
    before = descriptors()

    result = worker.run(spec, task)

    assert result.is_done
    assert result.restarts == 2 * NUM_IMAGES
    assert descriptors() == before
    assert zombies() == []
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
    assert not result.hindrance


def test_a_hang_outside_the_row_loop_ends_with_the_task(begin, worker):
    """The limit of the whole task ends what no row's limit reaches."""
    _, spec, task = begin({"bad": bad("hang")}, task_timeout_s=2)
    start_child(worker, spec)

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


@pytest.mark.parametrize("what", ["hang", "sigkill", "sigterm", "segfault", "eat_memory"])
def test_trouble_that_does_not_repeat_alone_is_not_marked(begin, worker, tmp_path, what):
    """A slow moment, a person's `kill` or a full machine is no fact about the image."""
    once = str(tmp_path / "once")
    session, spec, task = begin({"bad": bad(what, "img3", once=once)})

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

    assert result.restarts == 5, "two rows in company and alone, and the third in company"
    assert (result.steps["bad"].status, result.steps["bad"].text) == ("failed", "SIGSEGV")


def test_one_limit_holds_for_all_attempts_together(begin, worker, monkeypatch):
    """A row that hangs in company only would be tried for ever; the time of the task ends that."""
    monkeypatch.setattr(worker_module, "MAX_UNCONFIRMED", 1_000_000)
    _, spec, task = begin({"bad": bad("hang_in_company", "img3")}, task_timeout_s=2)
    start_child(worker, spec)

    result = worker.run(spec, task)

    assert result.restarts >= 1
    assert (result.steps["bad"].status, result.steps["bad"].code) == ("failed", "timeout")


@pytest.mark.parametrize("what", ["setup", "setup_exit", "setup_memory"])
def test_a_stage_that_cannot_be_set_up_charges_no_shard(begin, worker, what):
    """There is a sentence that names the stage; nobody failed."""
    _, spec, task = begin({"bad": bad(what), "echo": {}})

    result = worker.run(spec, task)

    assert "bad" in result.hindrance
    assert result.hindrance.endswith("run the same command again: finished shards are kept")
    assert {result.steps[name].status for name in ("bad", "echo")} == {"skipped"}


def test_a_setup_that_hangs_charges_no_shard(begin, worker):
    """The time of the task ends it, but no shard was in hand."""
    _, spec, task = begin({"bad": bad("setup_hang")}, task_timeout_s=2)
    start_child(worker, spec)

    result = worker.run(spec, task)

    assert result.hindrance.startswith("setting up bad took longer than run.task_timeout_s (2 s)")
    assert {step.status for step in result.steps.values()} == {"skipped"}


def test_stages_beside_one_that_cannot_be_set_up_are_done(begin, worker):
    """What could be made is on disk before the run ends."""
    session, spec, task = begin({"luma": {}, "bad": bad("setup")})

    result = worker.run(spec, task)

    assert result.hindrance == (
        "bad cannot be set up: ValueError: told to; mend that, then run the same command again: "
        "finished shards are kept"
    )
    assert result.steps["luma"].status == "done"
    assert len(read_instance(session, "luma")) == NUM_IMAGES


def test_a_store_that_refuses_charges_no_shard(begin, worker):
    """A full disk would have quarantined every shard."""
    _, spec, task = begin({"bad": bad("refused"), "echo": {}})

    result = worker.run(spec, task)

    assert result.hindrance == "bad, shard 0: no space is left; free some"
    assert [result.steps[name].status for name in ("bad", "echo")] == ["skipped", "skipped"]


def test_a_child_that_does_not_start_charges_no_shard(begin, monkeypatch, tmp_path):
    """It has a time of its own, which is not the task's."""
    monkeypatch.setattr(worker_module, "START_TIMEOUT_S", 1.0)
    _, spec, task = begin({"luma": {}})
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "pyarrow.py").write_text("import time; time.sleep(3600)")
    monkeypatch.syspath_prepend(tmp_path / "code")
    worker = ShardWorker(memory_bytes=4 << 30)

    result = worker.run(spec, task)

    assert result.hindrance.startswith("starting a worker took longer than 1 s: ")
    assert worker._child is None


def test_the_start_of_a_child_takes_no_time_of_the_task(begin, monkeypatch, tmp_path):
    """A worker's first task has as long as its second."""
    _, spec, task = begin({"luma": {}})
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "sitecustomize.py").write_text("import time; time.sleep(3)")
    monkeypatch.syspath_prepend(tmp_path / "code")
    worker = ShardWorker(memory_bytes=4 << 30)

    result = worker.run(replace(spec, task_timeout_s=2.5), task)

    worker.close()
    assert result.is_done, result


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        ("pyarrow.py", "starting a worker ended its process (exit code 1); its last words are in"),
        ("curation/pipeline/execute.py", "a worker cannot begin: ImportError: told to; mend that"),
    ],
)
def test_a_child_that_cannot_import_charges_no_shard(
    begin, monkeypatch, tmp_path, module, sentence
):
    """A broken installation is nobody's data."""
    _, spec, task = begin({"luma": {}})
    shutil.copytree(Path(curation.__file__).parent, tmp_path / "code" / "curation")
    (tmp_path / "code" / module).write_text("raise ImportError('told to')")
    monkeypatch.syspath_prepend(tmp_path / "code")
    worker = ShardWorker(memory_bytes=4 << 30)

    result = worker.run(spec, task)

    worker.close()
    assert result.hindrance.startswith(sentence)
    assert {step.status for step in result.steps.values()} == {"skipped"}


def test_a_limit_too_low_to_import_charges_no_shard(begin):
    """The sentence names the setting that is too low."""
    _, spec, task = begin({"luma": {}})
    worker = ShardWorker(memory_bytes=64 << 20)

    result = worker.run(spec, task)

    worker.close()
    assert "run.memory_bytes (64 MB)" in result.hindrance
    assert {step.status for step in result.steps.values()} == {"skipped"}


def test_a_relation_that_needs_more_memory_says_what_to_raise(begin, worker):
    """Another try would need as much: nothing is charged, the sentence names the setting."""
    session, spec, task = begin({"greedy": {}})
    dataset = session.create_dataset()
    assert worker.run(spec, replace(task, kind="shard", steps=("images",))).is_done
    (block,) = current_blocks(dataset, spec.instance("greedy"), {"greedy": spec.instance("greedy")})
    assert worker.run(spec, Task("edges", "e", ("greedy",), blocks=(block.name,) * 2)).is_done

    result = worker.run(spec, Task("groups", "all", ("greedy",)))

    assert result.steps["greedy"].status == "skipped"
    assert result.hindrance.startswith("greedy, all: needs more than 4096 MB")
    assert "raise run.memory_bytes (4096 MB)" in result.hindrance


def test_a_lost_dataset_charges_no_shard(begin, new_worker, tmp_path):
    """A worker that cannot open the dataset, as when a mount is missing there, says so."""
    _, spec, task = begin({"luma": {}})
    (tmp_path / "data").rename(tmp_path / "elsewhere")

    result = new_worker.run(spec, task)

    assert result.hindrance.startswith("a worker cannot begin: ")
    assert str(tmp_path / "data") in result.hindrance
    (tmp_path / "elsewhere").rename(tmp_path / "data")
    assert new_worker.run(spec, task).is_done, "and works on when it is back"


def test_no_limit_of_address_space_where_none_is_wanted(begin):
    """CUDA reserves more addresses than any limit that would bound the memory."""
    _, spec, task = begin({"luma": {}})
    limits = []
    for limited in (True, False):
        worker = ShardWorker(memory_bytes=4 << 30, limit_address_space=limited)
        assert worker.run(spec, task).is_done
        assert worker._child is not None
        text = Path(f"/proc/{worker._child.pid}/limits").read_text()
        worker.close()
        (line,) = [line for line in text.splitlines() if line.startswith("Max address space")]
        limits.append(line.split()[3])

    assert limits == [str(4 << 30), "unlimited"]


def test_a_worker_goes_on_after_its_child_was_killed(begin, worker):
    """A new child is started, and told everything anew; nothing was in hand."""
    session, spec, task = begin({"luma": {}})
    assert worker.run(spec, task).is_done
    worker._child.kill()

    result = worker.run(spec, task)

    assert result.is_done
    assert len(read_instance(session, "luma")) == NUM_IMAGES


def test_a_stopped_worker_writes_nothing(begin, new_worker, tmp_path):
    """Who stops a worker in the middle of a row learns nothing about that row."""
    once = tmp_path / "once"
    session, spec, task = begin({"bad": {**bad("hang", "img3", once=str(once)), "run": {}}})

    def stop():
        while not once.exists():
            time.sleep(0.01)
        new_worker.kill()

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(WorkerStoppedError):
        new_worker.run(spec, task)
    thread.join()

    assert not session.create_dataset().store.files("bad")
    with pytest.raises(WorkerStoppedError):
        new_worker.run(spec, task)
    assert new_worker._child is None, "it starts no other child"


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
