"""Workers that never come to work, and what Ray's errors say."""

import pytest
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    ActorUnschedulableError,
    OutOfMemoryError,
    RuntimeEnvSetupError,
)

from curation.errors import LongtailError
from curation.pipeline.runner import Pool
from curation.pipeline.tasks import Task
from jobs.actors import DEATHS, MAX_FAILED_STARTS, Actor, Call, Failures, last_line

POOL = Pool("clip", 1, None, 1.0, 0.0, 1 << 30)


def actor(asked: float) -> Actor:
    return Actor("clip-1", POOL, None, None, asked, since=asked)


def fail(failures: Failures, times: int, error: BaseException | None = None) -> None:
    """Let workers fail one after the other, each asked for after the last failure."""
    for _ in range(times):
        failures.add(actor(float("inf")), error, "it broke")


def test_three_failed_starts_in_a_row_end_the_run():
    """With the pool and the last reason."""
    failures = Failures()
    fail(failures, MAX_FAILED_STARTS - 1)

    with pytest.raises(LongtailError, match="clip: 3 workers in a row.*it broke"):
        fail(failures, 1)


def test_a_worker_that_begins_forgives_those_before():
    """Only failures in a row say that the next one would fare no better."""
    failures = Failures()
    for _ in range(4):
        fail(failures, MAX_FAILED_STARTS - 1)
        failures.begun(POOL)

    with pytest.raises(LongtailError):
        fail(failures, MAX_FAILED_STARTS)


def test_workers_asked_for_together_fail_together():
    """A hundred that were started on one lost node count as one."""
    failures = Failures()
    for _ in range(100):
        failures.add(actor(0.0), None, "its node was lost")

    fail(failures, MAX_FAILED_STARTS - 2)
    with pytest.raises(LongtailError):
        fail(failures, 1)


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (RuntimeEnvSetupError("no such package"), "packages and the working directory"),
        (ActorUnschedulableError("no such label"), "labels and resources"),
        (OutOfMemoryError("killed"), "run.cpus"),
    ],
)
def test_the_cause_of_a_failed_start_gets_its_advice(error: Exception, advice: str):
    """What Ray says alone helps nobody."""
    with pytest.raises(LongtailError, match=advice) as caught:
        fail(Failures(), MAX_FAILED_STARTS, error)

    assert caught.value.__cause__ is error


def test_every_way_an_actor_dies_is_known():
    """None of them is taken for a lost object, after which the dead would be given tasks."""
    errors = [
        ActorDiedError(),
        ActorUnavailableError("gone", None),
        OutOfMemoryError("killed"),
        RuntimeEnvSetupError("broken"),
        ActorUnschedulableError("nowhere"),
    ]

    assert all(isinstance(error, DEATHS) for error in errors)


def test_the_line_that_says_what_happened_is_the_last():
    """Under a traceback, and under the facts that Ray lists."""
    assert last_line(RuntimeError("ray::Worker.run()\n  File x\nValueError: told to\n")) == (
        "ValueError: told to"
    )
    assert last_line(RuntimeError("It died.\n\tpid: 7\nThe worker was killed.")) == (
        "The worker was killed."
    )
    assert last_line(KeyError()) == "KeyError"


def test_a_call_is_waited_for_in_two_steps():
    """First that it begins, then its answer; the clock of a task starts with the former."""
    call = Call(Task("shard", "s", ("luma",), 0), "begin", "answer")
    assert call.next_ref == "begin"

    call.has_begun = True
    assert call.next_ref == "answer"


class FakeHandle:
    """Answers nothing."""

    class Method:
        def remote(self, *arguments: object) -> object:
            return object()

    begin = run = Method()


def test_one_runs_and_one_waits():
    """The second call's clock starts when the first is answered."""
    one = Actor("clip-1", POOL, FakeHandle(), None, 0.0, node="n")
    for shard in range(2):
        one.give(None, Task("shard", f"s{shard}", ("clip",), shard))
    first, second = one.calls

    assert one.heads == [first]
    assert second.since is None
    assert not one.has_room(2)
    one.answered(first)
    assert one.heads == [second]


def test_in_flight_all_run():
    """As many as the pool says, each with a clock of its own; they end in any order."""
    pool = Pool("engine", 1, None, 1.0, 0.0, 1 << 30, shards_in_flight=3)
    one = Actor("engine-1", pool, FakeHandle(), None, 0.0, node="n")
    for number in range(3):
        assert one.has_room(number)
        one.give(None, Task("shard", f"s{number}", ("engine",), number))
    first, second, third = one.calls

    assert one.heads == [first, second, third]
    assert not one.has_room(3)
    one.answered(second)
    assert one.heads == [first, third]
