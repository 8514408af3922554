"""A plan says what is due and why, from what lies on disk and from nothing else."""

import dataclasses

import pytest

from curation.dataset import Dataset
from curation.errors import DatasetError
from curation.fingerprint import pretty_json
from curation.ingest.work_list import freeze_lists
from curation.pipeline.dispatch import Charge
from curation.pipeline.execute import Executor
from curation.pipeline.progress import Progress
from curation.pipeline.quarantine import write_charges
from curation.pipeline.shard_tasks import has_own_pool
from curation.pipeline.tasks import INGEST_FINGERPRINT, WorkerSpec
from schemas import dataset as layout
from tests.fakes.lake import image_bytes, make_lake, write_files
from tests.fakes.runs import Stages, files_of, find, make_session

THREE = [Charge("crashed", "SIGSEGV", "cpu-0")] * 3
STAGES: Stages = {"luma": {}, "double": {}, "middle": {}, "twins": {}}


@pytest.fixture
def lake(tmp_path):
    """Ten files, which three shards hold."""
    return make_lake(tmp_path / "lake", 7)


@pytest.fixture
def open_session(tmp_path, lake):
    """Make a session on one and the same dataset."""

    def make(stages, **run):
        return make_session(tmp_path / "data", lake, stages, max_shard_rows=4, **run)

    return make


def list_source(session):
    """Freeze the source's lists, as the driver does."""
    dataset = session.create_dataset()
    assert list(freeze_lists(dataset, session.config.source))
    return dataset


def work(session, tasks):
    """Do tasks in this process, in order."""
    dataset = Dataset.open(session.config.dataset)
    run = session.config.run
    spec = WorkerSpec(
        dataset.store.url,
        session.instances(dataset),
        session.config.source,
        run.row_timeout_s,
        run.task_timeout_s,
    )
    progress = Progress.create()
    executor = Executor(spec, progress)
    for task in tasks:
        assert executor.run(task, {}).is_done, task
    progress.close()


def finish(session):
    """List the source and work until the plan is empty."""
    dataset = list_source(session)
    while not (plan := session.plan(dataset)).is_empty:
        work(session, plan.tasks)
    return dataset


def states(plan):
    return {step.instance: (step.state, step.why) for step in plan.steps}


def steps_of(plan):
    return [(task.shard, task.steps) for task in plan.tasks]


def test_a_dataset_without_shards_has_nothing_due(open_session):
    """Before the first listing there is nothing to be done, and nothing is missing."""
    session = open_session({"luma": {}, "twins": {}})

    plan = session.plan(session.create_dataset())

    assert plan.is_empty
    assert plan.is_complete
    assert plan.wave == "none"


def test_everything_listed_is_due_in_one_task_a_shard(open_session, lake):
    """Ingest and the row-local stages behind it share one task; the rest comes later."""
    session = open_session(STAGES)
    dataset = list_source(session)

    plan = session.plan(dataset)

    assert plan.wave == "rows"
    assert steps_of(plan) == [(n, ("images", "luma", "double")) for n in range(3)]
    assert [task.num_rows for task in plan.tasks] == [4, 4, 2]
    assert [task.work_list for task in plan.tasks] == [(0, n) for n in range(3)]
    assert states(plan) == {
        "images": ("due", "listed, not yet taken in"),
        "luma": ("due", "no shard has it yet"),
        "double": ("due", "no shard has it yet"),
        "middle": ("after fit", "its model is fitted first"),
        "twins": ("after shards", "it needs every shard of what it reads"),
    }
    assert [step.num_rows for step in plan.steps[:4]] == [10] * 4
    assert plan.num_bytes == sum(len(data) for data in files_of(lake).values())


def test_a_plan_changes_nothing_and_repeats(open_session, tmp_path):
    """Looking is free: no file is written, and the same state gives the same plan."""
    session = open_session(STAGES)
    dataset = list_source(session)
    before = files_of(tmp_path / "data")

    first, second = session.plan(dataset), session.plan(dataset)

    assert first == second
    assert pretty_json(first.to_json()) == pretty_json(second.to_json())
    assert files_of(tmp_path / "data") == before


def test_fits_and_relations_stand_in_a_wave_of_their_own(open_session):
    """They need every shard, so they come after all of them; then what waited for the fit."""
    session = open_session(STAGES)
    dataset = list_source(session)
    work(session, session.plan(dataset).tasks)

    barrier = session.plan(dataset)

    assert barrier.wave == "barrier"
    assert [(task.kind, task.steps) for task in barrier.tasks] == [
        ("fit", ("middle",)),
        ("edges", ("twins",)),
        ("groups", ("twins",)),
    ]
    assert barrier.tasks[2].after == (barrier.tasks[1].key,)
    assert states(barrier)["twins"] == ("due", "the set of shards has changed")
    assert states(barrier)["luma"] == ("done", "every shard has it")

    work(session, barrier.tasks)
    after = session.plan(dataset)
    assert after.wave == "rows"
    assert steps_of(after) == [(n, ("middle",)) for n in range(3)]

    work(session, after.tasks)
    last = session.plan(dataset)
    assert last.is_empty
    assert last.is_complete
    assert {state for state, _ in states(last).values()} == {"done"}


def test_only_missing_files_are_due(open_session):
    """A lost file of one shard is that shard's work for that stage, and nothing else."""
    session = open_session(STAGES)
    dataset = finish(session)
    luma = find(session, "luma").fingerprint
    dataset.store.delete(layout.instance_path("luma", luma, 1))

    plan = session.plan(dataset)

    assert steps_of(plan) == [(1, ("luma",))]
    assert states(plan)["luma"] == ("due", "some shards lack it")
    assert states(plan)["double"] == ("done", "every shard has it")


def test_a_new_stage_is_due_alone(open_session):
    """Adding a stage recomputes nothing."""
    finish(open_session({"luma": {}}))
    session = open_session({"luma": {}, "double": {}})

    plan = session.plan(Dataset.open(session.config.dataset))

    assert steps_of(plan) == [(n, ("double",)) for n in range(3)]


def test_a_changed_configuration_reaches_its_readers(open_session):
    """Another `luma` makes `double` due too, under another folder."""
    finish(open_session({"luma": {}, "double": {}, "bad": {}}))
    session = open_session({"luma": {"size_px": 8}, "double": {}, "bad": {}})

    plan = session.plan(Dataset.open(session.config.dataset))

    assert steps_of(plan) == [(n, ("luma", "double")) for n in range(3)]
    assert states(plan)["bad"] == ("done", "every shard has it")


def test_run_settings_make_nothing_due(open_session):
    """How something runs is no reason to run it again."""
    finish(open_session({"luma": {}, "double": {}}))
    settings = {"cpus": 2, "memory_bytes": 1 << 30, "row_timeout_s": 9}
    session = open_session({"luma": {"run": settings}, "double": {}}, worker_cpus=2)

    assert session.plan(Dataset.open(session.config.dataset)).is_empty


def test_more_files_are_more_shards(open_session, lake):
    """A second ingest brings its shards and the relation's new state; old files stay."""
    session = open_session(STAGES)
    dataset = finish(session)
    write_files(lake, [("d9/new.png", image_bytes("new.png"))])
    list_source(session)

    plan = session.plan(dataset)

    assert steps_of(plan) == [(3, ("images", "luma", "double", "middle"))]
    assert plan.tasks[0].work_list == (1, 0)
    assert states(plan)["twins"][0] == "after shards"
    work(session, plan.tasks)
    barrier = session.plan(dataset)
    edges, groups = barrier.tasks
    assert (edges.kind, groups.kind) == ("edges", "groups")
    new, *others = edges.blocks
    assert [other == new for other in others] == [False, True]
    assert groups.after == (edges.key,)


def test_a_stage_with_its_own_pool_has_a_task_of_its_own(open_session):
    """It comes after the task that makes what it reads; what reads it comes after it."""
    session = open_session({"luma": {}, "heavy": {}, "double": {}})
    dataset = list_source(session)

    fused, heavy = session.plan(dataset).tasks[:2]

    assert fused.steps == ("images", "luma", "double")
    assert (heavy.steps, heavy.pool, heavy.after) == (("heavy",), "heavy", (fused.key,))
    pools = session.pools(session.instances(dataset))
    assert [pool.name for pool in pools] == ["cpu", "heavy"]


@pytest.mark.parametrize(
    ("run", "is_pool"), [({}, False), ({"gpus": 0.25}, True), ({"gpus": 0}, False)]
)
def test_a_gpu_makes_a_pool(open_session, run, is_pool):
    """A stage that is given a GPU is not fused with the CPU stages, and no GPU undoes that."""
    session = open_session({"luma": {"run": run}})
    instance = session.instances(session.create_dataset())[0]

    assert has_own_pool(instance) == is_pool


def test_a_shard_that_was_given_up_is_left_alone(open_session):
    """What reads it is blocked for that shard; the other shards are done."""
    session = open_session({"luma": {}, "double": {}, "bad": {}})
    dataset = list_source(session)
    luma = find(session, "luma").fingerprint
    write_charges(dataset, "luma", luma, "shard-00000001", THREE)

    plan = session.plan(dataset)

    assert steps_of(plan) == [
        (0, ("images", "luma", "double", "bad")),
        (1, ("images", "bad")),
        (2, ("images", "luma", "double", "bad")),
    ]
    steps = {step.instance: step for step in plan.steps}
    assert (steps["luma"].quarantined, steps["luma"].blocked) == ((1,), ())
    assert (steps["double"].quarantined, steps["double"].blocked) == ((), (1,))

    work(session, plan.tasks)
    last = session.plan(dataset)
    assert last.is_empty
    assert not last.is_complete
    assert states(last) == {
        "images": ("done", "all listed files are taken in"),
        "luma": ("blocked", "some shards were given up; see `longtail ls`"),
        "double": ("blocked", "some shards were given up; see `longtail ls`"),
        "bad": ("done", "every shard has it"),
    }


def test_a_failing_shard_is_still_due(open_session):
    """Two charges are not three."""
    session = open_session({"luma": {}})
    dataset = list_source(session)
    write_charges(dataset, "luma", find(session, "luma").fingerprint, "shard-00000001", THREE[:2])

    assert len(session.plan(dataset).tasks) == 3


def test_a_file_overrides_its_charges(open_session):
    """What exists was not given up, whatever the sheet says."""
    session = open_session({"luma": {}, "double": {}})
    dataset = finish(session)
    write_charges(dataset, "luma", find(session, "luma").fingerprint, "shard-00000001", THREE)

    assert session.plan(dataset).is_complete


def test_images_that_were_given_up_block_everything_on_them(open_session):
    """No stage runs on a shard that could not be taken in; fits and relations do without it."""
    session = open_session(STAGES)
    dataset = list_source(session)
    write_charges(dataset, "images", INGEST_FINGERPRINT, "shard-00000002", THREE)

    first = session.plan(dataset)
    assert [shard for shard, _ in steps_of(first)] == [0, 1]
    while not (plan := session.plan(dataset)).is_empty:
        work(session, plan.tasks)

    assert {name: state for name, (state, _) in states(plan).items()} == {
        "images": "blocked",
        "luma": "blocked",
        "double": "blocked",
        "middle": "blocked",
        "twins": "done",
    }


def test_a_fit_that_was_given_up_blocks_its_stage(open_session):
    """Everything else is done, and the plan says which model is missing."""
    session = open_session(STAGES)
    dataset = list_source(session)
    give_up_fit(session, dataset)

    while not (plan := session.plan(dataset)).is_empty:
        work(session, plan.tasks)

    assert states(plan)["middle"] == ("blocked", "its fit failed three times")
    assert states(plan)["twins"][0] == "done"
    assert not plan.is_complete


def give_up_fit(session, dataset):
    """Work up to the fit of `middle`, and charge it three times."""
    while not (fits := [t for t in session.plan(dataset).tasks if t.kind == "fit"]):
        work(session, session.plan(dataset).tasks)
    middle = find(session, "middle")
    assert middle.meaning is not None
    write_charges(dataset, "middle", middle.meaning.fit_key(), fits[0].name, THREE)


def test_more_shards_give_a_fit_new_tries(open_session, lake):
    """The sheet is named by the set of shards: what failed on those may work on others."""
    session = open_session({"luma": {}, "middle": {}})
    dataset = list_source(session)
    give_up_fit(session, dataset)
    assert session.plan(dataset).is_empty
    write_files(lake, [("d9/new.png", image_bytes("new.png"))])
    list_source(session)

    work(session, session.plan(dataset).tasks)

    assert [task.kind for task in session.plan(dataset).tasks] == ["fit"]
    assert states(session.plan(dataset))["middle"] == ("after fit", "its model is fitted first")


def test_a_fit_waits_for_a_row_that_it_can_read(tmp_path):
    """Without one, nothing is planned and nothing charged; the plan says what is missing."""
    lake = tmp_path / "lake"
    write_files(lake, [("a.png", b""), ("b.png", b"no image")])
    session = make_session(tmp_path / "data", lake, {"luma": {}, "middle": {}, "double": {}})
    dataset = finish(session)

    plan = session.plan(dataset)

    assert plan.is_empty
    assert not plan.is_complete
    assert states(plan)["middle"] == ("after shards", "no row has luma.mean yet")
    assert states(plan)["double"][0] == "done"
    write_files(lake, [("c.png", image_bytes("c.png"))])
    finish(session)
    assert session.plan(dataset).is_complete


def test_a_fit_whose_every_shard_was_given_up_is_not_planned(open_session):
    """No file to fit on is no row to fit on; the relation over images is done all the same."""
    session = open_session(STAGES)
    dataset = list_source(session)
    for shard in range(3):
        name = f"shard-{shard:08d}"
        write_charges(dataset, "luma", find(session, "luma").fingerprint, name, THREE)

    while not (plan := session.plan(dataset)).is_empty:
        work(session, plan.tasks)

    assert {name: state for name, (state, _) in states(plan).items()} == {
        "images": "done",
        "luma": "blocked",
        "double": "blocked",
        "middle": "after shards",
        "twins": "done",
    }


@pytest.mark.parametrize("other", [None, "pond"])
def test_files_of_a_source_that_the_pipeline_has_not_are_left_to_it(open_session, tmp_path, other):
    """A shard that was listed from another source is not tried three times in vain."""
    dataset = list_source(open_session({"luma": {}}))
    lake = make_lake(tmp_path / "other", 1) if other else None
    source = {"name": other} if other else None
    session = make_session(tmp_path / "data", lake, {"luma": {}}, source=source)

    plan = session.plan(dataset)

    assert plan.is_empty
    assert not plan.is_complete
    assert states(plan) == {
        "images": ("blocked", "listed from 'lake', which is not this pipeline's source"),
        "luma": ("blocked", "some shards are not taken in"),
    }
    assert plan.steps[0].blocked == (0, 1, 2)


def test_a_fit_waits_for_shards_that_another_run_takes_in(open_session, tmp_path):
    """A model that was pinned without them would stand for good; so would a relation's groups."""
    dataset = list_source(open_session(STAGES))
    work(open_session({}), open_session({}).plan(dataset).tasks[:2])
    session = make_session(tmp_path / "data", None, {"luma": {}, "middle": {}, "twins": {}})
    work(session, session.plan(dataset).tasks)

    plan = session.plan(dataset)

    assert plan.is_empty
    assert not plan.is_complete
    missing = "1 shard listed from 'lake', another source, not yet taken in"
    assert states(plan)["middle"] == ("after shards", f"its fit needs every shard, and {missing}")
    why = f"it needs every shard of what it reads, and {missing}"
    assert states(plan)["twins"] == ("after shards", why)


def test_a_fit_waits_for_a_listing_that_has_not_ended(open_session, tmp_path):
    """What is there is taken in; more is to come."""
    dataset = list_source(open_session(STAGES))
    done = layout.ingest_done_path(0)
    content = dataset.store.read(done)
    dataset.store.delete(done)
    session = open_session({"luma": {}, "middle": {}, "twins": {}})
    work(session, session.plan(dataset).tasks)

    plan = session.plan(dataset)

    assert plan.is_empty
    missing = "ingest 0 has not listed all of its source"
    assert states(plan)["middle"] == ("after shards", f"its fit needs every shard, and {missing}")
    assert states(plan)["twins"][1].endswith(f", and {missing}")
    dataset.store.put(done, content)
    assert [task.kind for task in session.plan(dataset).tasks] == ["fit", "edges", "groups"]


def test_a_model_that_is_not_there_is_refused(open_session):
    """Named in the pipeline or pinned and deleted since: exit code 2 before anything starts."""
    session = open_session({"luma": {}, "middle": {}})
    dataset = finish(session)
    named = open_session({"luma": {}, "middle": {"artifact": "0" * 32}})
    with pytest.raises(DatasetError, match=r"stages\.middle\.artifact") as caught:
        named.plan(dataset)
    assert caught.value.exit_code == 2

    (file,) = dataset.store.files("artifacts")
    dataset.store.delete(file)
    with pytest.raises(DatasetError, match="artifacts/middle"):
        session.plan(dataset)


def test_a_deleted_pin_is_fitted_anew(open_session):
    """On the same shards it gives the same model, so nothing after it is due."""
    session = open_session({"luma": {}, "middle": {}})
    dataset = finish(session)
    (pin,) = dataset.store.files("pins")
    before = dataset.store.read(pin)
    dataset.store.delete(pin)

    plan = session.plan(dataset)
    assert [task.kind for task in plan.tasks] == ["fit"]
    work(session, plan.tasks)

    assert dataset.store.read(pin) == before
    assert session.plan(dataset).is_complete


def test_edges_half_made_keep_their_charges(open_session, lake):
    """A task is named by all of its pairs, so its sheet holds when some of them are there."""
    session = open_session({"twins": {}})
    finish(session)
    write_files(lake, [("d9/new.png", image_bytes("new.png"))])
    dataset = list_source(session)
    work(session, session.plan(dataset).tasks)
    edges = session.plan(dataset).tasks[0]
    new, old, _ = edges.blocks
    work(session, [dataclasses.replace(edges, blocks=(new, old))])

    again = session.plan(dataset).tasks[0]

    assert again.blocks == (new, new)
    assert again.name == edges.name
    write_charges(dataset, "twins", find(session, "twins").fingerprint, edges.name, THREE)
    assert session.plan(dataset).is_empty


def test_edges_that_were_given_up_block_the_relation(open_session):
    """The relation is not grouped without them, and the plan names the task."""
    session = open_session({"twins": {}})
    dataset = list_source(session)
    work(session, session.plan(dataset).tasks)
    edges = session.plan(dataset).tasks[0]
    write_charges(dataset, "twins", find(session, "twins").fingerprint, edges.name, THREE)

    plan = session.plan(dataset)

    assert plan.is_empty
    assert states(plan)["twins"] == ("blocked", f"{edges.name} failed three times")


def test_the_plan_as_json(open_session):
    """What `--json` prints."""
    session = open_session({"luma": {}})

    value = session.plan(list_source(session)).to_json()

    assert value["wave"] == "rows"
    assert value["tasks"] == 3
    assert value["steps"][1] == {
        "instance": "luma",
        "fingerprint": find(session, "luma").fingerprint,
        "state": "due",
        "why": "no shard has it yet",
        "shards": 3,
        "rows": 10,
        "quarantined": [],
        "blocked": [],
    }
