"""A run: what it does, what it says, and when it starts nothing at all."""

import functools
import itertools
import json
import threading
from collections.abc import Callable

import pytest

from curation.dataset import Dataset
from curation.errors import (
    ConfigError,
    ConservationError,
    HinderedError,
    ResourceError,
    UsageError,
)
from curation.ingest.work_list import freeze_lists
from curation.pipeline import waves
from curation.pipeline.dispatch import MAX_TRIES, Dispatch
from curation.pipeline.local_runner import LocalRunner
from curation.pipeline.runner import Runner
from curation.pipeline.session import Session
from curation.pipeline.tasks import StepResult, TaskResult
from curation.pipeline.watch import Event
from schemas import dataset as layout
from tests.fakes.inline_runner import InlineRunner
from tests.fakes.lake import image_bytes, make_lake, write_files
from tests.fakes.runs import Stages, files_of, find, make_session, read_instance

ALL: Stages = {
    "luma": {},
    "double": {},
    "heavy": {},
    "middle": {},
    "bad": {},
    "echo": {},
    "twins": {},
}


@pytest.fixture
def lake(tmp_path):
    """Ten files, which three shards hold."""
    return make_lake(tmp_path / "lake", 7)


@pytest.fixture
def open_session(tmp_path, lake):
    def make(stages, **run):
        return make_session(tmp_path / "data", lake, stages, max_shard_rows=4, **run)

    return make


def run(session, **options):
    """Run in this process; return the summary and the events."""
    events: list[Event] = []
    summary = session.run(InlineRunner, runner_name="inline", on_event=events.append, **options)
    return summary, events


def never():
    pytest.fail("a runner was made")


def test_a_run_brings_everything_up_to_date(open_session):
    """Rows, then fits and relations, then what waited for the fit; exit code 0."""
    session = open_session(ALL)

    summary, events = run(session)

    assert summary.exit_code == 0
    assert summary.complete
    assert summary.left == {}
    assert summary.waves == 3
    assert [event["kind"] for event in events if event["event"] == "wave"] == [
        "rows",
        "barrier",
        "rows",
    ]
    assert {name: step.rows for name, step in summary.steps.items()} == dict.fromkeys(
        ["images", *ALL], 10
    )
    assert summary.steps["luma"].errors == {"empty": 1, "truncated": 1}
    dataset = Dataset.open(session.config.dataset)
    assert session.plan(dataset).is_complete


def test_every_runner_writes_the_same(tmp_path, lake):
    """Where a stage runs changes no byte."""
    written = []
    runners: list[Callable[[], Runner]] = [InlineRunner, LocalRunner]
    for number, make_runner in enumerate(runners):
        folder = tmp_path / f"data-{number}"
        session = make_session(folder, lake, ALL, max_shard_rows=4)
        assert session.run(make_runner, runner_name="x").complete
        written.append(files_of(folder, without=("runs", "dataset.json")))

    assert written[0] == written[1]


def test_a_second_run_does_nothing(open_session, tmp_path):
    """No runner is made and no file is touched where nothing is missing and nothing is new."""
    session = open_session(ALL)
    run(session)
    before = files_of(tmp_path / "data")

    again = open_session(ALL).run(never, runner_name="local")

    assert again.did_nothing
    assert again.complete
    assert again.exit_code == 0
    assert again.waves == 0
    assert again.lines() == ["nothing to do: everything the pipeline promises is there"]
    assert files_of(tmp_path / "data") == before


def test_new_files_are_taken_in_by_the_next_run(open_session, lake):
    """Only the new shard is made, and the relation anew."""
    run(open_session(ALL))
    write_files(lake, [("d9/new.png", image_bytes("new.png"))])

    summary, _ = run(open_session(ALL))

    assert summary.exit_code == 0
    assert summary.steps["luma"].rows == 1
    assert summary.steps["twins"].rows == 11


def test_a_pipeline_without_source_works_on_what_is_there(open_session, tmp_path):
    """Nothing is listed, and a new stage is run all the same."""
    run(open_session({"luma": {}}))

    summary, _ = run(make_session(tmp_path / "data", None, {"luma": {}, "double": {}}))

    assert summary.exit_code == 0
    assert list(summary.steps) == ["double"]


def test_an_interrupted_listing_is_resumed(open_session):
    """Lists frozen by a driver that died are used as they are."""
    session = open_session({"luma": {}})
    dataset = session.create_dataset()
    listing = freeze_lists(dataset, session.config.source)
    next(listing)
    listing.close()
    first = dataset.store.read("ingest/00000000/list-00000000.parquet")

    summary, _ = run(session)

    assert summary.exit_code == 0
    assert summary.steps["images"].rows == 10
    assert dataset.store.read("ingest/00000000/list-00000000.parquet") == first


def test_what_fails_three_times_is_given_up_and_the_rest_goes_on(open_session):
    """One stage of one shard; its readers wait; exit code 1; the summary and the sheet say why."""
    session = open_session({**ALL, "bad": {"what": "raise", "shard": 1}})

    summary, events = run(session)

    assert summary.exit_code == 1
    assert summary.facts["charges"] == MAX_TRIES
    charges = [event for event in events if event["event"] == "charge"]
    assert [(c["step"], c["try"], c["given_up"]) for c in charges] == [
        ("bad", 1, False),
        ("bad", 2, False),
        ("bad", 3, True),
    ]
    assert summary.steps["bad"].quarantined == {"shard-00000001": "exception: ValueError: told to"}
    assert (summary.steps["bad"].rows, summary.steps["echo"].rows) == (6, 6)
    assert summary.steps["echo"].blocked == 1
    assert summary.steps["middle"].rows == 10
    assert set(summary.left) == {"bad", "echo"}
    assert "bad: shard-00000001 was given up after three tries" in "\n".join(summary.lines())
    dataset = Dataset.open(session.config.dataset)
    sheet = f"quarantine/bad/{find(session, 'bad').fingerprint}/shard-00000001.json"
    assert json.loads(dataset.store.read(sheet))["state"] == "quarantined"


def test_a_stage_that_is_given_up_everywhere_ends_the_run_in_order(open_session):
    """What reads it is blocked for every shard, and the run says so instead of going in circles."""
    session = open_session({**ALL, "bad": {"what": "raise"}})

    summary, _ = run(session)

    assert summary.exit_code == 1
    assert set(summary.left) == {"bad", "echo"}
    assert summary.steps["echo"].blocked == 3
    assert (
        open_session({**ALL, "bad": {"what": "raise"}}).run(never, runner_name="x").exit_code == 1
    )


def test_what_was_given_up_is_left_alone(open_session):
    """The next run starts nothing, says so, and its exit code is 1 again."""
    stages = {"bad": {"what": "raise", "shard": 1}, "echo": {}}
    run(open_session(stages))

    again = open_session(stages).run(never, runner_name="local")

    assert again.exit_code == 1
    assert again.did_nothing
    assert again.lines() == [
        "bad: not complete: some shards were given up; see `longtail ls`",
        "echo: not complete: some shards were given up; see `longtail ls`",
    ]


def test_retrying_gives_three_new_tries(open_session, tmp_path):
    """`--retry-quarantined` forgets the charges; what works now is done, with its readers."""
    once = tmp_path / "works-now"
    stages = {"bad": {"what": "raise", "shard": 2, "once": str(once)}, "echo": {}}
    session = open_session(stages)
    for _ in range(MAX_TRIES):
        once.unlink(missing_ok=True)
        # A run that is stopped after one charge: the next one counts on.
        with pytest.raises(KeyboardInterrupt):
            session.run(InlineRunner, runner_name="inline", on_event=stop_at_charge)
    once.touch()
    assert open_session(stages).run(never, runner_name="local").exit_code == 1

    summary, _ = run(session, retry_quarantined=True)

    assert summary.exit_code == 0
    assert (summary.steps["bad"].rows, summary.steps["echo"].rows) == (2, 2)
    dataset = Dataset.open(session.config.dataset)
    assert dataset.store.files("quarantine") == []


def stop_at_charge(event):
    if event["event"] == "charge":
        raise KeyboardInterrupt


def test_a_fit_that_fails_blocks_its_stage_only(open_session):
    """A fit on a sample of no rows is given up; the others are done."""
    session = open_session({"luma": {"background": [0, 0, 0]}, "middle": {"sample_rows": 0}})

    summary, _ = run(session)

    assert summary.exit_code == 1
    assert list(summary.left) == ["middle"]
    (why,) = summary.steps["middle"].quarantined.values()
    assert "nothing to fit on" in why
    assert summary.steps["luma"].rows == 10


def test_a_fit_without_a_row_waits_for_one(tmp_path):
    """Nothing is charged; the run says what is missing, and the next one with images fits."""
    lake = tmp_path / "lake"
    write_files(lake, [("a.png", b"")])
    session = make_session(tmp_path / "data", lake, {"luma": {}, "middle": {}})

    summary, events = run(session)

    assert summary.exit_code == 1
    assert summary.left == {"middle": "no row has luma.mean yet"}
    assert "charge" not in {event["event"] for event in events}
    write_files(lake, [("b.png", image_bytes("b.png"))])
    assert run(session)[0].exit_code == 0


class Away(InlineRunner):
    """Its worker cannot reach the store, but for the first task's first step."""

    def run(self, spec, pools, dispatch, feed, on_tick):
        done = True
        while True:
            for task in feed.poll() if feed else []:
                dispatch.add(task)
            if (task := dispatch.next("away", "cpu", alone=True)) is not None:
                steps = {task.steps[0]: StepResult("done", task.num_rows)} if done else {}
                done = False
                result = TaskResult(steps, hindrance="the store is away; bring it back")
                dispatch.finished(task.key, result, "away")


def test_a_run_that_cannot_work_ends_and_loses_nothing(open_session, monkeypatch):
    """Exit code 2 with the sentence, nothing charged, the summary written; then all is done."""
    session = open_session({"luma": {}, "double": {}})
    dataset = session.create_dataset()
    assert list(freeze_lists(dataset, session.config.source))
    events: list[Event] = []
    clock = functools.partial(next, itertools.count(0.0, 10.0))
    monkeypatch.setattr(waves, "Dispatch", functools.partial(Dispatch, clock=clock))

    with pytest.raises(HinderedError, match="the store is away; bring it back") as caught:
        session.run(Away, runner_name="away", on_event=events.append)

    assert caught.value.exit_code == 2
    assert dataset.store.files("quarantine") == []
    hindrances = [event for event in events if event["event"] == "hindrance"]
    assert [event["worker"] for event in hindrances] == ["away"] * 3
    (name,) = dataset.store.files("runs")
    kept = json.loads(dataset.store.read(name))
    assert (kept["complete"], kept["facts"]) == (False, {"hindrances": 3})
    assert kept["steps"]["images"]["shards"] == 1
    assert run(session)[0].exit_code == 0


def test_a_shard_that_hinders_every_try_is_given_up(open_session, monkeypatch):
    """A step that says of one shard alone that the store refuses ends no run, this or the next."""
    clock = functools.partial(next, itertools.count(0.0, 1.0))
    monkeypatch.setattr(waves, "Dispatch", functools.partial(Dispatch, clock=clock))
    session = open_session({"luma": {}, "bad": {"what": "refused", "shard": 1}, "echo": {}})

    summary, _ = run(session)

    assert summary.exit_code == 1
    (name,) = session.create_dataset().store.files("quarantine")
    assert "bad/" in name
    assert summary.steps["bad"].shards == 2
    assert summary.steps["luma"].shards == 3
    assert run(session)[0].did_nothing


@pytest.fixture
def slow_listing(monkeypatch):
    """A listing that yields nothing before the returned event is set."""
    released = threading.Event()

    def freeze(dataset, source):
        lists = freeze_lists(dataset, source)

        def wait():
            released.wait(20)
            yield from lists

        return wait()

    monkeypatch.setattr(waves, "freeze_lists", freeze)
    return released


def test_pending_work_does_not_wait_for_the_listing(open_session, lake, slow_listing):
    """What is missing on disk is made while the source is still being listed."""
    session = open_session({"luma": {}, "middle": {}})
    slow_listing.set()
    run(session)
    slow_listing.clear()
    fingerprint = find(session, "luma").fingerprint
    dataset = Dataset.open(session.config.dataset)
    path = layout.instance_path("luma", fingerprint, 1)
    dataset.store.delete(path)
    write_files(lake, [("d9/new.png", image_bytes("new.png"))])
    waited: list[bool] = []

    class Patient(InlineRunner):
        def run(self, spec, pools, dispatch, feed, on_tick):
            def tick():
                if dataset.store.exists(path) and not slow_listing.is_set():
                    waited.append(feed.is_empty)
                    slow_listing.set()
                on_tick()

            super().run(spec, pools, dispatch, feed, tick)

    summary = session.run(Patient, runner_name="inline")

    assert waited == [True]
    assert summary.exit_code == 0
    assert summary.steps["luma"].rows == 4 + 1


def test_what_waited_for_the_end_of_a_listing_is_done_in_the_same_run(open_session, slow_listing):
    """A run that was stopped between its last shard and the listing's end fits the next time."""
    slow_listing.set()
    run(open_session({"luma": {}}))
    slow_listing.clear()
    session = open_session({"luma": {}, "middle": {}})
    dataset = session.create_dataset()
    dataset.store.delete(layout.ingest_done_path(0))
    assert session.plan(dataset).is_empty

    def release(event):
        if event["event"] == "progress" and event["listing"]:
            slow_listing.set()

    summary = session.run(InlineRunner, runner_name="inline", on_event=release)

    assert summary.complete
    assert dataset.store.exists(layout.ingest_done_path(0))
    assert len(dataset.store.files("pins")) == 1


def test_fits_and_relations_wait_for_the_listing_and_it_is_seen(open_session, lake, slow_listing):
    """A stopped run fits on what an unbroken one would have; a long listing shows meanwhile."""
    session = open_session({"luma": {}, "middle": {}})
    slow_listing.set()
    run(session)
    slow_listing.clear()
    dataset = Dataset.open(session.config.dataset)
    (pin,) = dataset.store.files("pins")
    before = dataset.store.read(pin)
    dataset.store.delete(pin)
    write_files(lake, [(f"d9/{n}.png", image_bytes(f"{n}.png")) for n in range(3)])
    events: list[Event] = []

    def take(event):
        events.append(event)
        if event["event"] == "progress" and event["listing"]:
            slow_listing.set()

    assert session.run(InlineRunner, runner_name="inline", on_event=take).exit_code == 0

    assert events[0]["event"] == "progress"
    assert [event["kind"] for event in events if event["event"] == "wave"][:2] == [
        "rows",
        "barrier",
    ]
    now = json.loads(dataset.store.read(pin))
    assert now["sample_rows"] == json.loads(before)["sample_rows"] + 3


def test_a_source_that_has_gone_is_refused_before_pending_work(open_session, lake):
    """A bad request starts nothing, also where there would be something to do."""
    session = open_session({"luma": {}})
    dataset = session.create_dataset()
    assert list(freeze_lists(dataset, session.config.source))
    lake.rename(lake.with_name("gone"))

    with pytest.raises(UsageError, match="lake"):
        session.run(never, runner_name="local")

    assert dataset.store.names("pipelines") == []


def test_a_run_leaves_its_summary(open_session):
    """`runs/<run id>.json` outlives every process of the run."""
    session = open_session({"luma": {}})

    summary, _ = run(session)

    dataset = Dataset.open(session.config.dataset)
    assert dataset.store.names("runs") == [f"{summary.run_id}.json"]
    kept = json.loads(dataset.store.read(f"runs/{summary.run_id}.json"))
    assert kept == json.loads(json.dumps(summary.to_json()))
    assert kept["steps"]["luma"]["rows"] == 10


def test_the_pipeline_is_kept_as_it_was_written(open_session):
    """The text of the file, before the run; another text replaces it at the next run."""
    session = open_session({"luma": {}})
    run(session)
    dataset = Dataset.open(session.config.dataset)
    assert dataset.store.read("pipelines/fake.yaml").decode() == session.text

    changed = open_session({"luma": {}, "double": {}})
    run(changed)

    assert dataset.store.read("pipelines/fake.yaml").decode() == changed.text


def test_a_changed_text_is_kept_without_new_work(open_session):
    """Another predicate needs no stage, and is what was applied last all the same."""
    session = open_session({"luma": {}})
    run(session)
    changed = Session(session.config, session.text + "# as of today\n", session.registry)

    summary = changed.run(never, runner_name="local")

    assert summary.did_nothing
    dataset = Dataset.open(session.config.dataset)
    assert dataset.store.read("pipelines/fake.yaml").decode() == changed.text
    assert len(dataset.store.names("runs")) == 1


def test_a_refused_pipeline_is_not_kept(open_session):
    """What could not be applied does not replace what was; no secret of a comment is kept."""
    session = open_session({"luma": {}})
    run(session)
    refused = open_session({"luma": {"size_px": 8, "run": {"gpus": 1}}})
    with pytest.raises(ResourceError):
        refused.run(LocalRunner, runner_name="local")
    dataset = Dataset.open(session.config.dataset)
    assert dataset.store.read("pipelines/fake.yaml").decode() == session.text

    told = Session(session.config, "# https://me:word@host/x\n", session.registry)
    told.run(never, runner_name="local")

    assert b"word" not in dataset.store.read("pipelines/fake.yaml")


def test_a_wrong_pipeline_touches_nothing(tmp_path, lake):
    """A bad request ends with exit code 2 before there is a dataset."""
    with pytest.raises(ConfigError) as caught:
        make_session(tmp_path / "data", lake, {"lumma": {}})

    assert caught.value.exit_code == 2
    assert not (tmp_path / "data").exists()


def test_a_stage_that_lacks_something_is_named(open_session, tmp_path):
    """Two stages may lack the same package; the message begins with the place in the file."""
    (tmp_path / "w.json").write_text("[1, 2]")
    weighed = {"stage": "weighed", "weights": f"{tmp_path}/w.json", "package": "absent"}

    with pytest.raises(ConfigError, match=r"^stages\.heavier: absent is not installed"):
        run(open_session({"luma": {}, "heavier": weighed}))

    assert not (tmp_path / "data").exists()


def test_a_missing_source_is_refused(tmp_path):
    """Exit code 2, and no runner is made."""
    session = make_session(tmp_path / "data", tmp_path / "nowhere", {"luma": {}})

    with pytest.raises(UsageError, match="nowhere") as caught:
        session.run(never, runner_name="local")

    assert caught.value.exit_code == 2


def test_resources_that_can_never_be_had_are_refused(open_session):
    """Exit code 2, before the first task."""
    session = open_session({"luma": {"run": {"gpus": 1}}})

    with pytest.raises(ResourceError, match="luma asks for 1 GPU") as caught:
        session.run(LocalRunner, runner_name="local")

    assert caught.value.exit_code == 2
    dataset = Dataset.open(session.config.dataset)
    assert dataset.image_shards() == []
    assert dataset.store.names("runs") == []


class Liar(InlineRunner):
    """Says that all is done, and does nothing."""

    def run(self, spec, pools, dispatch, feed, on_tick):
        while not dispatch.is_idle or not feed or not feed.is_done:
            for task in feed.poll() if feed else []:
                dispatch.add(task)
            while (task := dispatch.next("liar", "cpu")) is not None:
                done = dict.fromkeys(task.steps, StepResult("done"))
                dispatch.finished(task.key, TaskResult(done), "liar")
            if not feed:
                return


def test_work_that_leaves_no_file_is_a_bug_of_ours(open_session):
    """A run never turns for ever on a plan that does not shrink."""
    with pytest.raises(ConservationError, match="the plan does not shrink"):
        open_session({"luma": {}}).run(Liar, runner_name="liar")


def test_a_crash_is_a_row_for_the_local_runner(open_session):
    """With real children, a row that crashes its process is data, and the run is complete."""
    session = open_session({"bad": {"what": "segfault", "key": "img004"}})

    summary = session.run(LocalRunner, runner_name="local")

    assert summary.exit_code == 0
    assert summary.steps["bad"].errors == {"crashed": 1}
    restarts = summary.facts["restarts"]
    assert restarts >= 1
    assert f"{restarts} times a worker's process died and was started again" in summary.lines()
    errors = read_instance(session, "bad")["bad_error"].to_pylist()
    assert errors.count("crashed: SIGSEGV") == 1
    assert errors.count(None) == 9


def test_one_worker_tries_again_what_it_failed_at(open_session):
    """The only worker of a local run gets the task back until it is given up."""
    session = open_session({"bad": {"what": "exit", "shard": 1}}, workers=1)

    summary = session.run(LocalRunner, runner_name="local")

    assert summary.exit_code == 1
    assert summary.facts["charges"] == MAX_TRIES
    assert summary.steps["bad"].quarantined == {"shard-00000001": "crashed: exit code 3"}
    assert summary.steps["bad"].rows == 6
