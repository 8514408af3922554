"""Several shards in one child: the same files, and trouble is only theirs who make it."""

import shutil
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from curation.errors import HinderedError
from curation.ingest.work_list import freeze_lists
from curation.pipeline.flight import Flight, longest_call_s, make_worker
from curation.pipeline.tasks import WorkerSpec
from curation.pipeline.worker import START_TIMEOUT_S, WorkerStoppedError
from tests.fakes.lake import image_bytes, write_files
from tests.fakes.runs import files_of, make_session, read_instance, run

NUM_IMAGES = 18
SHARD_ROWS = 3
PER_RUN = ("runs", "dataset.json", "pipelines")


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """Six shards of three images."""
    folder = tmp_path_factory.mktemp("flight") / "lake"
    keys = [f"img{n:02d}.png" for n in range(NUM_IMAGES)]
    write_files(folder, [(key, image_bytes(key)) for key in keys])
    return folder


@pytest.fixture(scope="module")
def taken_in(lake):
    """A dataset whose images were taken in."""
    dataset = lake.with_name("data")
    assert run(make_session(dataset, lake, {"luma": {}}, max_shard_rows=SHARD_ROWS)).complete
    return dataset


@pytest.fixture
def begin(tmp_path, lake, taken_in):
    """Return the session of an engine, after the images were taken in."""

    def start(data="data", **settings):
        shutil.copytree(taken_in, tmp_path / data)
        company = {"company": 3, "met": str(tmp_path / f"{data}-met")}
        stages = {"luma": {}, "engine": {**company, **settings}}
        return make_session(tmp_path / data, lake, stages, max_shard_rows=SHARD_ROWS)

    return start


def engine_run(*, shards=3, **run):
    return {"run": {"shards_in_flight": shards, **run}}


def errors_of(session):
    return Counter(text for text in read_instance(session, "engine")["engine_error"].to_pylist())


def test_three_in_flight_write_the_bytes_of_one(begin, tmp_path):
    """They were in hand at once, the model was loaded once, and no file tells."""
    setups = tmp_path / "setups"
    together = begin("together", setups=str(setups), **engine_run(shards=3))
    (tmp_path / "single-met").touch()
    single = begin("single", **engine_run(shards=1))
    # What it is configured with is meaning, and differs between the two: compared is what it says.
    assert run(together).complete
    assert run(single).complete

    assert (tmp_path / "together-met").exists()
    assert setups.read_text().splitlines() == ["set up"]
    ours, theirs = (read_instance(session, "engine") for session in (together, single))
    assert ours.equals(theirs)


def test_one_configuration_gives_the_same_files(begin, tmp_path):
    """Byte by byte: how many fly together is no part of what a stage means."""
    found = []
    for data, shards in (("two", 2), ("one", 1)):
        session = begin(data, company=0, met="", **engine_run(shards=shards))
        assert run(session).complete
        found.append(files_of(tmp_path / data, without=PER_RUN))

    assert found[0] == found[1]
    assert any(name.startswith("engine/") for name in found[0])


@pytest.mark.parametrize(
    ("what", "reason", "restarts"),
    [
        ("segfault", "crashed: SIGSEGV", 3),
        ("exit", "crashed: exit code 3", 3),
        ("eat_memory", "memory: more than 4096 MB were needed", 3),
        ("hang", "timeout: no answer within 0.5 s", 3),
    ],
)
def test_a_bad_row_costs_that_row_of_that_shard(begin, what, reason, restarts):
    """Three were in hand; in company nobody is marked, alone the row is found."""
    session = begin(what=what, key="img04", **engine_run(row_timeout_s=0.5))

    summary = run(session)

    assert summary.complete
    assert errors_of(session) == {None: NUM_IMAGES - 1, reason: 1}
    assert summary.facts == {"restarts": restarts}


@pytest.mark.parametrize(
    ("what", "charge"),
    [
        ("segfault", "crashed: SIGSEGV"),
        ("raise", "exception: ValueError: told to"),
        ("eat_memory", "memory: more than 4096 MB were needed"),
    ],
)
def test_a_shard_that_fails_is_given_up_alone(begin, what, charge):
    """The two that flew with it are charged nothing, and finish."""
    session = begin(what=what, shard=1, **engine_run())

    summary = run(session)

    assert summary.steps["engine"].quarantined == {"shard-00000001": charge}
    assert summary.facts["charges"] == 3
    assert len(read_instance(session, "engine")) == NUM_IMAGES - SHARD_ROWS


@pytest.mark.parametrize("what", ["sigkill", "hang"])
def test_trouble_that_does_not_repeat_alone_charges_nobody(begin, tmp_path, what):
    """A person's `kill` with three shards in hand, or a slow moment."""
    once = str(tmp_path / "once")
    session = begin(what=what, shard=1, key="img04", once=once, **engine_run(row_timeout_s=0.5))

    summary = run(session)

    assert summary.complete
    assert summary.facts == {"restarts": 1}
    assert errors_of(session) == {None: NUM_IMAGES}


def test_a_model_that_does_not_load_charges_nobody(begin):
    """The run ends with the sentence; whoever waited for the set-up got the same."""
    session = begin(what="setup_exit", **engine_run())

    with pytest.raises(HinderedError, match=r"setting up engine ended its process \(exit code 3\)"):
        run(session)


def test_threads_take_turns_where_the_stage_did_not_ask_for_them(tmp_path, lake):
    """Who sets three in flight for a plain stage overlaps all but its `process`."""
    stages = {"shy": {"seconds": 0.05, "run": {"shards_in_flight": 3}}}
    session = make_session(tmp_path / "data", lake, stages, max_shard_rows=SHARD_ROWS)

    summary = run(session)

    assert summary.complete, summary.lines()
    assert summary.facts == {}, "nobody raised"
    assert len(read_instance(session, "shy")) == NUM_IMAGES


@pytest.fixture
def spec_and_tasks(begin):
    """What a worker is told, and the tasks of the engine."""

    def plan(**settings):
        session = begin(**settings, **engine_run())
        dataset = session.create_dataset()
        assert session.config.source is not None
        list(freeze_lists(dataset, session.config.source))
        instances = session.instances(dataset)
        spec = WorkerSpec(dataset.store.url, instances, session.config.source, 60.0, 60.0)
        return spec, session.plan(dataset).tasks

    return plan


def test_a_stopped_flight_ends_all_that_it_has_in_hand(spec_and_tasks, tmp_path):
    """Nobody waits for ever, and nothing is learnt of the rows."""
    once = tmp_path / "once"
    spec, tasks = spec_and_tasks(what="hang", shard=1, key="img04", once=str(once))
    flight = make_worker(4 << 30, shards_in_flight=3)
    ends = {}

    def call(task):
        try:
            ends[task.shard] = flight.run(spec, task).is_done
        except WorkerStoppedError:
            ends[task.shard] = False

    threads = [threading.Thread(target=call, args=(task,)) for task in tasks[:3]]
    for thread in threads:
        thread.start()
    while not once.exists():
        time.sleep(0.01)
    flight.kill()
    for thread in threads:
        thread.join(30)

    assert sorted(ends) == [0, 1, 2]
    assert ends[1] is False
    with pytest.raises(WorkerStoppedError):
        flight.run(spec, tasks[0])


def test_a_flight_goes_on_after_its_child_was_killed_idle(spec_and_tasks):
    """Another child is started; what it was told is told again."""
    spec, tasks = spec_and_tasks(company=0, met="")
    flight = make_worker(4 << 30, shards_in_flight=3)
    assert isinstance(flight, Flight)
    before = descriptors()
    assert flight.run(spec, tasks[0]).is_done
    child = flight._worker._child
    assert child is not None
    child.kill()

    result = flight.run(spec, tasks[1])

    flight.close()
    assert result.is_done
    assert descriptors() == before - 1, "that of its calls is closed too"


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_call_has_time_for_its_neighbours():
    """Before it, beside it and after it: the runner gives up later than the worker."""
    spec = WorkerSpec("data", (), None, 60.0, 100.0)

    assert longest_call_s(spec, 1) == START_TIMEOUT_S + 100.0
    assert longest_call_s(spec, 3) >= 2 * (START_TIMEOUT_S + 100.0) + 3 * 100.0 + 3 * (
        START_TIMEOUT_S + 100.0
    )
