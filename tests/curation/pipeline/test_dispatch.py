"""The state machine of tries, charges and quarantine, with no runner at all."""

import pytest

from curation.errors import HinderedError
from curation.pipeline.bench import MAX_HINDRANCES
from curation.pipeline.dispatch import (
    MAX_FREE_TRIES,
    MAX_TRIES,
    Charge,
    Dispatch,
)
from curation.pipeline.tasks import StepResult, Task, TaskResult

DONE = StepResult("done", 10)
SKIPPED = StepResult("skipped")
FAILED = StepResult("failed", code="exception", text="ValueError: x")


class Desk:
    """A dispatch, and a record of all that it says."""

    def __init__(self, dependants=None, prior=None, made=()):
        self.charges: list[tuple[str, str, int, Charge, bool]] = []
        self.ends: list[tuple[str, str, str]] = []
        self.answers: list[tuple[str, str, str]] = []
        self.dependants = dependants or {}
        self.now = 0.0
        prior = prior or {}
        self.dispatch = Dispatch(
            lambda step: self.dependants.get(step, ()),
            lambda step, name: list(prior.get((step, name), ())),
            lambda task, step, charges, given_up: self.charges.append(
                (task.name, step, len(charges), charges[-1], given_up)
            ),
            lambda end: self.ends.append((end.task.name, end.step, end.outcome)),
            lambda task, step: step in made,
            lambda task, result, worker: self.answers.append((task.name, worker, result.hindrance)),
            lambda: self.now,
        )

    def next(self, worker="w0", pool="cpu", **options):
        return self.dispatch.next(worker, pool, **options)

    def fail(self, task, worker, step):
        """Answer that everything before `step` is done, it failed, and the rest was not run."""
        at = task.steps.index(step)
        steps = dict.fromkeys(task.steps[:at], DONE)
        steps |= {step: FAILED} | dict.fromkeys(task.steps[at + 1 :], SKIPPED)
        self.dispatch.finished(task.key, TaskResult(steps), worker)

    def finish(self, task, worker="w0"):
        self.dispatch.finished(task.key, TaskResult(dict.fromkeys(task.steps, DONE)), worker)

    def hinder(self, task, worker="w0", text="the store is away", done=()):
        """Answer that the task could not be worked on, but for the steps that were done."""
        self.dispatch.finished(
            task.key, TaskResult(dict.fromkeys(done, DONE), hindrance=text), worker
        )

    def rest(self):
        """Let the time of the longest rest go by."""
        self.now += 30.0

    def finish_all(self):
        """Do everything that is ready, one after the other."""
        while (task := self.next()) is not None:
            self.finish(task)


def shard_task(shard, *steps, **options):
    return Task("shard", f"shard-{shard}", steps, shard, **options)


@pytest.fixture
def desk():
    return Desk({"images": ["a", "b"], "a": ["b"]})


def test_tasks_come_in_order_and_only_once(desk):
    """Everybody gets another task; nothing is left when all have ended."""
    for shard in range(3):
        desk.dispatch.add(shard_task(shard, "a"))

    handed = [desk.next(worker) for worker in ("w0", "w1", "w2")]

    assert [task.shard for task in handed] == [0, 1, 2]
    assert desk.next() is None
    assert desk.dispatch.count() == {"ready": 0, "waiting": 0, "running": 3}
    assert not desk.dispatch.is_idle
    for task in handed:
        desk.finish(task)
    assert desk.dispatch.is_idle
    assert desk.ends == [(f"shard-{n}", "a", "done") for n in range(3)]
    assert desk.charges == []


def test_a_pool_gets_its_own_tasks(desk):
    """A worker with a model is never handed what others do."""
    desk.dispatch.add(shard_task(0, "a"))
    desk.dispatch.add(shard_task(0, "b", pool="b"))

    assert desk.next(pool="b").steps == ("b",)
    assert desk.next(pool="b") is None
    assert desk.dispatch.count("b") == {"ready": 0, "waiting": 0, "running": 1}
    assert desk.dispatch.count("cpu") == {"ready": 1, "waiting": 0, "running": 0}


def test_three_charges_are_the_end(desk):
    """The third charge gives the step up; each was reported before the next try."""
    desk.dispatch.add(shard_task(7, "a"))

    for number in range(1, MAX_TRIES + 1):
        task = desk.next(f"w{number}")
        assert len(desk.charges) == number - 1
        desk.fail(task, f"w{number}", "a")

    assert desk.dispatch.is_idle
    assert desk.ends == [("shard-7", "a", "quarantined")]
    assert desk.charges == [
        ("shard-7", "a", n, Charge("exception", "ValueError: x", f"w{n}"), n == 3)
        for n in (1, 2, 3)
    ]


def test_only_the_step_that_ran_is_charged(desk):
    """What was done before stays done, what was not reached goes again without a charge."""
    desk.dispatch.add(shard_task(0, "images", "a", "c"))

    desk.fail(desk.next("w0"), "w0", "a")
    again = desk.next("w1")

    assert again.steps == ("a", "c")
    assert again.key == "shard/shard-0/images"
    assert [charge[:3] for charge in desk.charges] == [("shard-0", "a", 1)]
    assert desk.ends == [("shard-0", "images", "done")]
    desk.finish(again)
    assert desk.dispatch.is_idle


def test_readers_of_what_was_given_up_are_blocked_and_the_rest_goes_on(desk):
    """`b` reads `a`: it is blocked for that shard only; `c` reads neither and is done."""
    desk.dispatch.add(shard_task(0, "a", "b", "c"))
    desk.dispatch.add(shard_task(1, "a", "b", "c"))

    first = desk.next("w0")
    second = desk.next("w1")
    desk.finish(second)
    for n in range(MAX_TRIES):
        steps = {"a": FAILED, "b": SKIPPED, "c": SKIPPED if n < 2 else DONE}
        desk.dispatch.finished(first.key, TaskResult(steps), f"w{n}")
        first = desk.next(f"w{n + 1}")

    assert first is None
    assert desk.dispatch.is_idle
    assert [end for end in desk.ends if end[0] == "shard-0"] == [
        ("shard-0", "a", "quarantined"),
        ("shard-0", "c", "done"),
        ("shard-0", "b", "blocked"),
    ]
    assert [end[2] for end in desk.ends if end[0] == "shard-1"] == ["done"] * 3


def test_a_waiting_task_of_a_given_up_shard_is_blocked(desk):
    """A task of another pool that reads it ends as blocked instead of waiting for ever."""
    first = shard_task(0, "a")
    desk.dispatch.add(first)
    desk.dispatch.add(shard_task(0, "b", pool="b", after=(first.key,)))

    for n in range(MAX_TRIES):
        desk.fail(desk.next(f"w{n}"), f"w{n}", "a")

    assert desk.next(pool="b") is None
    assert desk.ends == [("shard-0", "a", "quarantined"), ("shard-0", "b", "blocked")]
    assert desk.dispatch.is_idle


def test_a_task_waits_for_those_it_names(desk):
    """It is ready when the last of them has ended, whatever the order in which they came."""
    left, right = shard_task(0, "a"), shard_task(1, "a")
    desk.dispatch.add(Task("groups", "all", ("g",), after=(left.key, right.key)))
    desk.dispatch.add(left)
    desk.dispatch.add(right)

    assert desk.dispatch.count() == {"ready": 2, "waiting": 1, "running": 0}
    desk.finish(desk.next())
    assert desk.dispatch.count()["waiting"] == 1
    desk.finish(desk.next())
    assert desk.next().kind == "groups"


def test_a_task_that_names_an_ended_one_is_ready_at_once(desk):
    """Tasks of a feed may come after what they wait for."""
    first = shard_task(0, "a")
    desk.dispatch.add(first)
    desk.finish_all()

    desk.dispatch.add(shard_task(0, "b", after=(first.key,)))

    assert desk.next().steps == ("b",)


def test_a_chain_of_blocked_tasks_ends(desk):
    """Behind a blocked task, the next one ends too."""
    desk.dependants = {"a": ["b", "c"]}
    one = shard_task(0, "a")
    two = shard_task(0, "b", after=(one.key,))
    desk.dispatch.add(one)
    desk.dispatch.add(two)
    desk.dispatch.add(shard_task(0, "c", after=(two.key,)))

    for n in range(MAX_TRIES):
        desk.fail(desk.next(f"w{n}"), f"w{n}", "a")

    assert [end[1:] for end in desk.ends] == [
        ("a", "quarantined"),
        ("b", "blocked"),
        ("c", "blocked"),
    ]
    assert desk.dispatch.is_idle


def test_no_groups_without_every_pair_of_blocks(desk):
    """Edges that are given up block the grouping of their own relation."""
    edges = Task("edges", "edges-x", ("twins",), blocks=("x",))
    desk.dispatch.add(edges)
    desk.dispatch.add(Task("groups", "groups-x", ("twins",), after=(edges.key,)))

    for n in range(MAX_TRIES):
        desk.fail(desk.next(f"w{n}"), f"w{n}", "twins")

    assert desk.ends == [
        ("edges-x", "twins", "quarantined"),
        ("groups-x", "twins", "blocked"),
    ]


def test_a_worker_does_not_try_again_what_it_failed_at(desk):
    """Another worker gets it; the same one only if it is alone."""
    desk.dispatch.add(shard_task(0, "a"))
    desk.fail(desk.next("w0"), "w0", "a")

    assert desk.next("w0") is None
    assert desk.next("w0", alone=True) is not None


def test_a_worker_that_failed_gets_other_tasks(desk):
    """Avoiding is for the one task."""
    desk.dispatch.add(shard_task(0, "a"))
    desk.fail(desk.next("w0"), "w0", "a")
    desk.dispatch.add(shard_task(1, "a"))

    assert desk.next("w0").shard == 1
    assert desk.next("w1").shard == 0


def test_charges_of_earlier_runs_count():
    """With two charges on the sheet, the first failure of this run is the last one allowed."""
    earlier = [Charge("timeout", "no answer", "old")] * 2
    desk = Desk(prior={("a", "shard-0"): earlier})
    desk.dispatch.add(shard_task(0, "a"))
    desk.dispatch.add(shard_task(1, "a"))

    desk.fail(desk.next(), "w0", "a")
    desk.fail(desk.next("w1"), "w1", "a")

    assert [(name, number, given_up) for name, _, number, _, given_up in desk.charges] == [
        ("shard-0", 3, True),
        ("shard-1", 1, False),
    ]


def test_the_death_of_a_worker_is_charged_to_the_head(desk):
    """Nobody can say how far it came, so the first step is charged and the others go again."""
    desk.dispatch.add(shard_task(0, "a", "b"))
    task = desk.next("w0")

    desk.dispatch.died(task.key, "w0", "crashed", "the process died")

    assert [charge[1:] for charge in desk.charges] == [
        ("a", 1, Charge("crashed", "the process died", "w0"), False)
    ]
    assert desk.next("w0") is None
    assert desk.next("w1").steps == ("a", "b")


def test_what_a_dead_worker_had_finished_is_done():
    """Files tell how far it came: the first step without one is charged."""
    desk = Desk({"a": ["b"]}, made={"images", "a"})
    desk.dispatch.add(shard_task(0, "images", "a", "b", "c"))

    desk.dispatch.died(desk.next("w0").key, "w0", "crashed", "the process died")

    assert desk.ends == [("shard-0", "images", "done"), ("shard-0", "a", "done")]
    assert [charge[1:3] for charge in desk.charges] == [("b", 1)]
    assert desk.next("w1").steps == ("b", "c")


def test_lost_nodes_are_free_up_to_a_cap(desk):
    """A lost node is nobody's fault; a task that loses them for ever is charged after all."""
    desk.dispatch.add(shard_task(0, "a"))

    for n in range(MAX_FREE_TRIES):
        desk.dispatch.lost(desk.next("w0").key, "w0", f"node {n}")
    assert desk.charges == []

    for n in range(MAX_TRIES):
        desk.dispatch.lost(desk.next(f"w{n}").key, f"w{n}", "node x")
    assert desk.ends == [("shard-0", "a", "quarantined")]
    assert desk.charges[0][3] == Charge(
        "lost", f"lost {MAX_FREE_TRIES + 1} times, last: node x", "w0"
    )


def test_a_lost_task_goes_first(desk):
    """It was begun before the others, and may be waited for."""
    for shard in range(3):
        desk.dispatch.add(shard_task(shard, "a"))
    desk.dispatch.lost(desk.next("w0").key, "w0", "node")

    assert desk.next("w0").shard == 0


def test_what_was_not_begun_costs_nothing(desk):
    """A task that waited at a dead worker goes back, and that worker's name is not held back."""
    desk.dispatch.add(shard_task(0, "a"))
    task = desk.next("w0")
    for _ in range(MAX_FREE_TRIES + 5):
        desk.dispatch.unstarted(task.key)
        task = desk.next("w0")

    desk.finish(task)

    assert desk.charges == []
    assert desk.ends == [("shard-0", "a", "done")]


def test_two_steps_of_a_task_are_charged_apart(desk):
    """Each step has its own sheet; the one that is given up does not end the other."""
    desk.dispatch.add(shard_task(0, "c", "d"))

    for n in range(MAX_TRIES):
        task = desk.next(f"w{n}")
        steps = {"c": FAILED, "d": FAILED if n < 1 else DONE}
        result = TaskResult({step: steps[step] for step in task.steps})
        desk.dispatch.finished(task.key, result, f"w{n}")

    assert desk.ends == [("shard-0", "d", "done"), ("shard-0", "c", "quarantined")]
    assert [(step, number) for _, step, number, _, _ in desk.charges] == [
        ("c", 1),
        ("d", 1),
        ("c", 2),
        ("c", 3),
    ]


def test_what_could_not_be_worked_on_goes_first_and_is_charged_to_nobody(desk):
    """Steps that were done stay done; another worker takes the rest before all other tasks."""
    desk.dispatch.add(shard_task(0, "images", "a", "c"))
    desk.dispatch.add(shard_task(1, "images"))

    desk.hinder(desk.next("w0"), "w0", done=["images"])

    assert desk.ends == [("shard-0", "images", "done")]
    assert desk.answers == [("shard-0", "w0", "the store is away")]
    again = desk.next("w1")
    assert (again.shard, again.steps) == (0, ("a", "c"))
    desk.finish(again, "w1")
    desk.rest()
    desk.finish_all()
    assert desk.charges == []
    assert desk.dispatch.is_idle


def test_a_worker_that_could_not_work_gets_its_task_back_only_alone(desk):
    """One bad machine among many does not eat a task's time for ever."""
    desk.dispatch.add(shard_task(0, "a"))
    desk.hinder(desk.next("w0"), "w0")
    desk.rest()

    assert desk.next("w0") is None
    assert desk.next("w0", alone=True) is not None


def test_a_worker_that_was_hindered_rests(desk):
    """1, 2, 4 s and so on up to 30 s, and from 1 s again once it has worked."""
    for shard in range(20):
        desk.dispatch.add(shard_task(shard, "a"))
    desk.next("good")  # has not answered yet, so the run goes on

    rests = []
    task = desk.next("w0")
    for _ in range(7):
        desk.hinder(task, "w0")
        start = desk.now
        while (task := desk.next("w0", alone=True)) is None:
            assert desk.dispatch.is_benched("w0")
            desk.now += 1.0
        rests.append(desk.now - start)
    assert rests == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]

    desk.finish(task, "w0")
    desk.hinder(desk.next("w0"), "w0")
    desk.now += 1.0
    assert desk.next("w0") is not None


def test_a_bad_worker_neither_ends_the_run_nor_takes_the_others_tasks(desk):
    """Three good ones are busy with long tasks while the fourth cannot work at all."""
    for shard in range(100):
        desk.dispatch.add(shard_task(shard, "a"))
    held = {worker: desk.next(worker) for worker in ("w1", "w2", "w3")}

    while not desk.dispatch.is_idle:
        if (task := desk.next("bad")) is not None:
            desk.hinder(task, "bad", "no GPU here")
        desk.now += 10.0
        for worker, task in held.items():
            if task is not None:
                desk.finish(task, worker)
            held[worker] = desk.next(worker)

    assert len(desk.ends) == 100
    assert desk.charges == []
    assert 0 < len([a for a in desk.answers if a[1] == "bad"]) < 20


def test_trouble_of_a_second_ends_no_run(desk):
    """All workers meet it, each with a second task waiting behind the first."""
    workers = [f"w{n}" for n in range(3)]
    for shard in range(9):
        desk.dispatch.add(shard_task(shard, "a"))
    handed = [(desk.next(worker), worker) for worker in workers * 2]

    for task, worker in handed:
        desk.hinder(task, worker)
    assert {desk.next(worker, alone=True) for worker in workers} == {None}
    desk.now += 1.0
    for _ in range(9):
        desk.finish(desk.next("w0", alone=True))

    assert desk.dispatch.is_idle
    assert desk.charges == []


def hinder_all(desk, workers, text="no weights here", pool="cpu"):
    """Hinder each worker as often as it may be without an end, but for the last time."""
    for number in range(MAX_HINDRANCES):
        for worker in workers:
            task = desk.next(worker, pool, alone=True)
            if (number, worker) == (MAX_HINDRANCES - 1, workers[-1]):
                return task
            desk.hinder(task, worker, text)
        desk.rest()
    raise AssertionError


def test_a_run_ends_when_no_worker_gets_on(desk):
    """The sentence is the last one; exit code 2; every task is still to be done."""
    for shard in range(20):
        desk.dispatch.add(shard_task(shard, "a"))
    last = hinder_all(desk, ["w0", "w1", "w2"])

    with pytest.raises(HinderedError, match="^no weights here") as caught:
        desk.hinder(last, "w2", "no weights here")

    assert caught.value.exit_code == 2
    assert desk.charges == desk.ends == []
    assert desk.dispatch.count() == {"ready": 20, "waiting": 0, "running": 0}


def test_nobody_waits_for_a_worker_that_is_no_more(desk):
    """One that died, was lost or was ended cannot keep a run from its end."""
    for shard in range(20):
        desk.dispatch.add(shard_task(shard, "a"))
    desk.dispatch.lost(desk.next("lost").key, "lost", "node")
    desk.dispatch.unstarted(desk.next("gone").key)
    desk.hinder(desk.next("ended"), "ended")
    desk.dispatch.left("ended")
    last = hinder_all(desk, ["w0"])

    with pytest.raises(HinderedError):
        desk.hinder(last, "w0")


def test_a_finished_task_begins_the_count_anew(desk):
    """Trouble that comes and goes never ends a run that gets on."""
    for shard in range(10):
        desk.dispatch.add(shard_task(shard, "a"))

    for _ in range(10):
        for n in range(MAX_HINDRANCES - 1):
            desk.hinder(desk.next(f"w{n}", alone=True), f"w{n}")
        desk.finish(desk.next("w9", alone=True), "w9")
        desk.rest()

    assert desk.dispatch.is_idle
    assert len(desk.ends) == 10


def test_a_pool_that_gets_on_does_not_hide_one_that_cannot(desk):
    """A model that never loads ends the run while the CPU stages finish shard after shard."""
    for shard in range(9):
        desk.dispatch.add(shard_task(shard, "a"))
        desk.dispatch.add(shard_task(shard, "b", pool="b"))
    last = hinder_all(desk, ["g0", "g1"], "no weights", "b")
    desk.finish_all()

    with pytest.raises(HinderedError, match="no weights"):
        desk.hinder(last, "g1", "no weights")

    assert [end[1] for end in desk.ends] == ["a"] * 9


@pytest.mark.parametrize("workers", [["w0"], ["w0", "w1"], [f"w{n}" for n in range(5)]])
def test_a_shard_that_hinders_everybody_is_given_up(desk, workers):
    """Workers that do the others well are not at fault, and the store is not away."""
    for shard in range(12):
        desk.dispatch.add(shard_task(shard, "images", "a", "b"))

    while not desk.dispatch.is_idle:
        for worker in workers:
            task = desk.next(worker) or desk.next(worker, alone=True)
            if task is None:
                continue
            if task.shard == 3:
                done = [step for step in task.steps if step == "images"]
                desk.hinder(task, worker, "a, shard 3: https://me:secret@host is away", done)
            else:
                desk.finish(task, worker)
        desk.now += 1.0

    ends = [end for end in desk.ends if end[0] == "shard-3"]
    assert ends == [
        ("shard-3", "images", "done"),
        ("shard-3", "a", "quarantined"),
        ("shard-3", "b", "blocked"),
    ]
    assert [(step, number) for _, step, number, _, _ in desk.charges] == [
        ("a", n) for n in range(1, MAX_TRIES + 1)
    ]
    assert {charge.code for _, _, _, charge, _ in desk.charges} == {"exception"}
    assert len([end for end in desk.ends if end[2] == "done"]) == 1 + 3 * 11


def test_many_hindered_shards_are_the_machines_fault(desk):
    """Where weights are missing, tasks that need none go on; the others end the run uncharged."""
    for shard in range(12):
        desk.dispatch.add(shard_task(shard, "a" if shard % 2 else "clip"))

    def work():
        while not desk.dispatch.is_idle:
            if (task := desk.next() or desk.next(alone=True)) is None:
                desk.now += 1.0
            elif task.shard % 2:
                desk.finish(task)
            else:
                desk.hinder(task, text="no weights")

    with pytest.raises(HinderedError, match="no weights"):
        work()

    assert desk.charges == []
    assert len(desk.ends) == 6


def test_secrets_are_in_no_charge_and_no_hindrance(desk):
    """Sheets are stored and shown, and so is what a run says."""
    url = "GET https://bob:hunter2@api.example/v1?api_key=SECRET failed"
    desk.dispatch.add(shard_task(0, "a"))
    task = desk.next("w0")
    failed = StepResult("failed", code="exception", text=url)
    desk.dispatch.finished(task.key, TaskResult({"a": failed}), "w0")
    desk.dispatch.died(desk.next("w1").key, "w1", "crashed", url)
    desk.hinder(desk.next("w2"), "w2", url)

    said = [charge.text for _, _, _, charge, _ in desk.charges] + [a[2] for a in desk.answers]
    assert len([text for text in said if text]) == 3
    for text in said:
        assert "hunter2" not in text
        assert "SECRET" not in text


def test_tasks_keep_their_order_whoever_avoids_them(desk):
    """What failed goes last, what was put back first; each worker skips what it failed at."""
    for shard in range(4):
        desk.dispatch.add(shard_task(shard, "a"))
    desk.fail(desk.next("w0"), "w0", "a")  # 1 2 3 0
    desk.dispatch.unstarted(desk.next("w1").key)  # 1 2 3 0
    desk.fail(desk.next("w1"), "w1", "a")  # 2 3 0 1
    desk.dispatch.lost(desk.next("w1").key, "w1", "node")  # 2 3 0 1

    assert [desk.next("w0").shard for _ in range(3)] == [2, 3, 1]
    assert desk.next("w0") is None
    assert desk.next("w1").shard == 0


class Counted(str):
    """A key that counts how often it is looked at."""

    looks = 0

    def __hash__(self):
        Counted.looks += 1
        return super().__hash__()

    __eq__ = str.__eq__


def test_an_end_looks_at_its_own_dependants_only(desk):
    """A thousand waiting tasks are not looked through for each that ends."""
    num_tasks = 1000
    for shard in range(num_tasks):
        first = shard_task(shard, "a")
        desk.dispatch.add(first)
        desk.dispatch.add(shard_task(shard, "b", after=(Counted(first.key),)))
    Counted.looks = 0

    desk.finish_all()

    assert len(desk.ends) == 2 * num_tasks
    assert Counted.looks <= 4 * num_tasks


def test_a_worker_does_not_look_through_all_that_it_avoids(desk):
    """Behind a thousand tasks that it failed at, the next one is found at once."""
    num_tasks = 1000
    for shard in range(num_tasks):
        desk.dispatch.add(shard_task(shard, "a"))
    for _ in range(num_tasks):
        desk.fail(desk.next("w0"), "w0", "a")
    lines = desk.dispatch._ready["cpu"]._lines

    assert len(lines) == 1
    assert desk.next("w0") is None
    desk.dispatch.add(shard_task(num_tasks, "a"))
    assert desk.next("w0").shard == num_tasks
    assert len(lines) == 1
    assert desk.next("w1").shard == 0


def test_what_is_due_counts_rows_of_all_that_was_added(desk):
    """Tasks of a feed count as those of the plan do."""
    desk.dispatch.add(shard_task(0, "a", "b", num_rows=10))
    desk.dispatch.add(shard_task(1, "a", num_rows=5))
    desk.finish_all()

    assert desk.dispatch.due == {"a": 15, "b": 10}


def hand_three(desk):
    """Give three tasks to one worker."""
    for shard in range(3):
        desk.dispatch.add(shard_task(shard, "a"))
    return [desk.next("w0") for _ in range(3)]


def test_who_died_with_several_tasks_charges_none(desk):
    """Each goes again alone: a worker that has one of them gets nothing else meanwhile."""
    keys = [task.key for task in hand_three(desk)]

    desk.dispatch.died_with(keys, "w0", "crashed", "SIGKILL")

    assert desk.charges == []
    first = desk.next("w1")
    assert (first.shard, first.is_alone) == (0, True)
    assert desk.next("w1") is None
    assert desk.next("w2").shard == 1
    desk.finish(first, "w1")
    assert desk.next("w1").shard == 2


def test_who_has_others_in_hand_gets_no_task_that_runs_alone(desk):
    """It gets the one after it; whoever comes with empty hands takes it."""
    keys = [task.key for task in hand_three(desk)]
    for shard in (3, 4):
        desk.dispatch.add(shard_task(shard, "a"))
    assert desk.next("w1").shard == 3

    desk.dispatch.died_with(keys, "w0", "crashed", "SIGKILL")

    assert desk.next("w1").shard == 4
    assert desk.next("w1") is None
    assert desk.next("w2").shard == 0


def test_a_second_death_alone_is_charged(desk):
    """There is no doubt any more."""
    keys = [task.key for task in hand_three(desk)]
    desk.dispatch.died_with(keys, "w0", "crashed", "SIGKILL")
    alone = desk.next("w1")

    desk.dispatch.died_with([alone.key], "w1", "crashed", "SIGKILL")

    assert [charge[:3] for charge in desk.charges] == [("shard-0", "a", 1)]
    assert desk.next("w2").is_alone, "and stays alone"
