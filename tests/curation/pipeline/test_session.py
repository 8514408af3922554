"""A run: what it does, what it says, and when it starts nothing at all."""

import json
from collections.abc import Callable

import pytest

from curation.dataset import Dataset
from curation.errors import ConfigError, ConservationError, ResourceError, UsageError
from curation.ingest.work_list import freeze_lists
from curation.pipeline.dispatch import MAX_TRIES
from curation.pipeline.local_runner import LocalRunner
from curation.pipeline.runner import Runner
from curation.pipeline.session import Event
from curation.pipeline.tasks import StepResult, TaskResult
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
    """A fit without one usable row is given up; the others are done."""
    session = open_session({"luma": {"background": [0, 0, 0]}, "middle": {"sample_rows": 0}})

    summary, _ = run(session)

    assert summary.exit_code == 1
    assert list(summary.left) == ["middle"]
    assert "nothing to fit on" in summary.steps["middle"].quarantined["fit"]
    assert summary.steps["luma"].rows == 10


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


def test_a_wrong_pipeline_touches_nothing(tmp_path, lake):
    """A bad request ends with exit code 2 before there is a dataset."""
    with pytest.raises(ConfigError) as caught:
        make_session(tmp_path / "data", lake, {"lumma": {}})

    assert caught.value.exit_code == 2
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
