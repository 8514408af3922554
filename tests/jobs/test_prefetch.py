"""Which views are made ahead and who gets them, without Ray."""

from pathlib import Path

import pytest

from curation.pipeline.dispatch import Dispatch
from curation.pipeline.packet import packet_bytes
from curation.pipeline.runner import Pool
from curation.pipeline.tasks import StepResult, Task, TaskResult, WorkerSpec
from jobs.prefetch import MAX_AHEAD, STORE_SHARE, Prefetch
from tests.fakes.runs import make_session

ROWS = 10
GPU = Pool("glow", 1, None, 1.0, 1.0, 1 << 30)
OTHER = Pool("big", 1, None, 1.0, 1.0, 1 << 30)


class Desk:
    """A dispatch with tasks of a GPU stage, and its prefetch."""

    def __init__(self, stages, pools, store_bytes=1 << 30, **stores):
        session = make_session(Path("data"), None, stages)
        spec = WorkerSpec("data", session._unpinned, None, 60.0, 60.0)
        self.dispatch = Dispatch(
            lambda step: (), lambda step, name: [], lambda *charge: None, lambda end: None
        )
        self.stores = {"n0": store_bytes, **stores}
        self.prefetch = Prefetch(spec, pools, lambda: self.stores)
        self.look()

    def look(self, workers=1):
        self.prefetch.look({"glow": workers, "big": workers, "cpu": 1}, self.dispatch)

    def add(self, *shards, pools=("glow",), after=()):
        for shard in shards:
            for pool in pools:
                self.dispatch.add(self.task(shard, pool, after=after))

    def task(self, shard, *steps, pool=None, after=()):
        return Task(
            "shard", f"s{shard}", steps, shard, pool=pool or steps[0], after=after, num_rows=ROWS
        )

    def make(self, urgent=False, node="n0"):
        return self.prefetch.make(node, self.dispatch, urgent=urgent)

    def made(self, task):
        self.prefetch.ended(task, {pool: f"{task.name}/{pool}" for pool in task.packs})

    def next(self, worker="w0", num_calls=0, node="n0"):
        return self.prefetch.next(worker, "glow", node, num_calls, self.dispatch)

    def finish(self, task, worker="w0"):
        self.prefetch.ended(task, {})
        done = {step: StepResult("done", ROWS) for step in task.steps}
        self.dispatch.finished(task.key, TaskResult(done), worker)


@pytest.fixture
def desk():
    return Desk({"luma": {}, "glow": {}}, [GPU])


def test_only_small_views_of_gpu_pools_are_made_ahead():
    """On cores the model is what takes time; large views are more bytes than their files."""
    stages = {"glow": {}, "big": {"stage": "glow", "size_px": 600}}

    assert Desk(stages, [GPU]).prefetch.feeds("glow")
    assert not Desk(stages, [OTHER]).prefetch.feeds("big")
    assert not Desk(stages, [Pool("glow", 1, None, 1.0, 0.0, 1 << 30)]).prefetch.feeds("glow")


def test_a_cpu_task_packs_for_what_comes_after_it(desk):
    """The image is decoded once for all that are due for the shard."""
    cpu = desk.task(0, "images", "luma", pool="cpu")
    desk.dispatch.add(cpu)
    desk.add(0, after=(cpu.key,))

    task = desk.prefetch.packing(cpu, "n0", desk.dispatch)

    assert task.packs == ("glow",)
    assert desk.make() is None, "and nobody else makes the same"


def test_a_shard_that_a_cpu_worker_looks_at_anyway_is_not_decoded_twice(desk):
    """Though its GPU task is ready: the CPU task packs when its turn comes."""
    desk.add(0, 1)
    cpu = desk.task(0, "luma", pool="cpu")
    desk.dispatch.add(cpu)

    assert desk.make().shard == 1
    assert desk.make() is None
    assert desk.prefetch.packing(cpu, "n0", desk.dispatch).packs == ("glow",)
    desk.dispatch.next("c0", "cpu")
    desk.finish(cpu, "c0")
    desk.dispatch.add(desk.task(2, "glow"))
    assert desk.make().shard == 2


def test_a_task_that_waits_for_more_is_not_fed_yet(desk):
    """Its packet would lie about until a model of another pool has seen the shard."""
    cpu, other = desk.task(0, "images", pool="cpu"), desk.task(0, "big", after=())
    desk.dispatch.add(cpu)
    desk.dispatch.add(other)
    desk.add(0, after=(cpu.key, other.key))

    assert desk.prefetch.packing(cpu, "n0", desk.dispatch).packs == ()


def test_a_task_that_must_run_alone_packs_nothing(desk):
    """It is run to see whether it kills its worker."""
    desk.add(0)
    alone = Task("shard", "s0", ("luma",), 0, is_alone=True)

    assert desk.prefetch.packing(alone, "n0", desk.dispatch) == alone


def test_one_pass_makes_the_views_of_all_gpu_stages():
    """Where only those are due, an image is still decoded once."""
    desk = Desk({"glow": {}, "big": {"stage": "glow", "size_px": 300}}, [GPU, OTHER])
    desk.add(0, pools=("glow", "big"))

    task = desk.make()

    assert task.packs == ("glow", "big")
    assert task.steps == ()


def test_fed_tasks_come_first_those_of_the_own_node_before_others(desk):
    """Whichever was made: the order of shards means nothing."""
    desk.stores["n1"] = 1 << 30
    desk.add(0, 1, 2)
    far, near = desk.make(node="n1"), desk.make(node="n0")
    desk.made(far)
    desk.made(near)

    first, second = desk.next(), desk.next("w1")

    assert (first.shard, desk.prefetch.reference(first)) == (1, "s1/glow")
    assert (second.shard, desk.prefetch.reference(second)) == (0, "s0/glow")


def test_an_idle_worker_waits_for_what_is_being_made(desk):
    """One worker for each; the next takes a task of which nobody makes views."""
    desk.add(0, 1, 2)
    making = desk.make()
    desk.look(workers=2)

    assert desk.next("w0") is None
    assert desk.prefetch.is_awaited("glow")
    own = desk.next("w1")
    assert (own.shard, desk.prefetch.reference(own)) == (1, None)
    desk.made(making)
    assert desk.next("w0").shard == 0


def test_a_busy_worker_waits_for_a_fed_task(desk):
    """It has something else to do."""
    desk.add(0)

    assert desk.next(num_calls=1) is None
    assert desk.next(num_calls=0).shard == 0


def test_what_fits_nowhere_is_not_waited_for(desk):
    """Not even by a busy worker."""
    desk.stores["n0"] = 10
    desk.add(0)

    assert desk.make() is None
    assert desk.prefetch.num_wanted(desk.dispatch) == 0
    assert desk.next(num_calls=1).shard == 0


def test_packets_of_a_node_are_bounded_by_its_store():
    """Those that are made, are there, or are being seen."""
    view = make_session(Path("data"), None, {"glow": {}})._unpinned[0].make().pixels()
    assert view is not None
    desk = Desk({"glow": {}}, [GPU], int(2.5 * packet_bytes(view, ROWS) / STORE_SHARE))
    desk.add(*range(5))
    first, second = desk.make(), desk.make()
    assert second is not None
    assert desk.make() is None
    desk.made(first)
    task = desk.next()
    assert desk.make() is None, "it is seen now"

    desk.finish(task)

    assert desk.make() is not None


def test_shards_ahead_are_bounded_by_workers(desk):
    """Urgent is one for each."""
    desk.add(*range(3 * MAX_AHEAD))
    assert desk.prefetch.num_wanted(desk.dispatch) == MAX_AHEAD
    assert desk.make(urgent=True) is not None
    assert desk.make(urgent=True) is None

    made = 1
    while desk.make() is not None:
        made += 1

    assert made == MAX_AHEAD
    desk.look(workers=2)
    assert desk.make() is not None


def test_a_packet_that_was_not_made_is_not_tried_again(desk):
    """Nor one that was seen: a shard that is tried again is decoded where it is seen."""
    desk.add(0, 1)
    failed = desk.make()
    desk.prefetch.ended(failed, {})
    assert desk.make().shard == 1
    task = desk.next()

    assert (task.shard, desk.prefetch.reference(task)) == (0, None)
    desk.prefetch.ended(task, {})
    desk.dispatch.lost(task.key, "w0", "gone")
    assert desk.make() is None


def test_a_call_that_had_not_begun_leaves_its_packet(desk):
    """Whoever takes the task next sees it."""
    desk.add(0)
    desk.made(desk.make())
    task = desk.next()
    desk.prefetch.unstarted(task)
    desk.dispatch.unstarted(task.key)

    again = desk.next("w1")

    assert desk.prefetch.reference(again) == "s0/glow"


def test_a_maker_that_had_not_begun_has_made_nothing(desk):
    """Another one does."""
    desk.add(0)
    desk.prefetch.unstarted(desk.make())

    assert desk.make().shard == 0


def test_packets_of_tasks_that_have_ended_are_forgotten(desk):
    """As when what they wait for was given up."""
    desk.add(0)
    desk.made(desk.make())
    task = desk.dispatch.next("w0", "glow")
    done = TaskResult({"glow": StepResult("done")})
    desk.dispatch.finished(task.key, done, "w0")

    desk.look()

    assert desk.prefetch.reference(task) is None
