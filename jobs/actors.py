"""Worker actors as the submit loop sees them, and what Ray's errors say of them."""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import (
    ActorUnschedulableError,
    OutOfMemoryError,
    RayActorError,
    RuntimeEnvSetupError,
)

from curation.errors import LongtailError
from curation.pipeline.runner import Pool
from curation.pipeline.tasks import Task
from jobs.floor import Member
from jobs.worker_actor import WorkerActor

DEATHS = (RayActorError, OutOfMemoryError, RuntimeEnvSetupError, ActorUnschedulableError)
"""What Ray raises for a call of an actor that is dead, by the cause of its death."""

MAX_FAILED_STARTS = 3

_ADVICE: dict[type[BaseException], str] = {
    RuntimeEnvSetupError: "look at the packages and the working directory of the Ray job",
    ActorUnschedulableError: "look at the labels and resources of the cluster's nodes",
    OutOfMemoryError: "their nodes ran out of memory: give a worker more run.cpus, so that fewer "
    "share a node, or use larger nodes",
}


@dataclass(eq=False)
class Call:
    """A task in the hands of an actor.

    Attributes:
        task: The task.
        begin: Reference that is answered when the actor comes to the task.
        answer: Reference to its result.
        packets: Instance -> reference to the packet that the task makes for it.
        has_begun: Whether `begin` was answered.
        since: When the actor came to it, or to what it does for it now; null while others are
            before it.
    """

    task: Task
    begin: Any
    answer: Any
    packets: Mapping[str, Any] = field(default_factory=dict)
    has_begun: bool = False
    since: float | None = None

    @property
    def next_ref(self) -> Any:
        """What to wait for."""
        return self.answer if self.has_begun else self.begin


@dataclass(eq=False)
class Actor:
    """A worker.

    Attributes:
        name: Its name.
        pool: Its pool.
        handle: Ray's handle.
        ready: Reference to the node that it lives on.
        asked: When it was asked for, on the monotonic clock.
        node: Where it lives; empty while it is pending.
        calls: One runs, one may wait; or, with several shards in flight, so many run.
        since: When it came to have no calls: pending, or idle.
        is_ending: Whether it gets no new calls and ends when it has none.
        dead_since: When its death was heard of.
        verdict_s: How long to wait, from then on, for the news that its node died too.
        code: What a call is charged with if the node lives.
        reason: The same in words.
    """

    name: str
    pool: Pool
    handle: Any
    ready: Any
    asked: float
    node: str = ""
    calls: deque[Call] = field(default_factory=deque)
    since: float = 0.0
    is_ending: bool = False
    dead_since: float | None = None
    verdict_s: float = 0.0
    code: str = "crashed"
    reason: str = ""

    @classmethod
    def start(cls, name: str, pool: Pool) -> "Actor":
        """Ask Ray for a worker."""
        options: dict[str, Any] = {"num_cpus": pool.cpus, "num_gpus": pool.gpus}
        if pool.resources:
            options["resources"] = dict(pool.resources)
        if pool.shards_in_flight > 1:
            options["max_concurrency"] = pool.shards_in_flight + 1  # and one that says `begin`
        if pool.runtime_env is not None:
            options["runtime_env"] = dict(pool.runtime_env)
        handle = WorkerActor.options(**options).remote(
            pool.memory_bytes, pool.gpus == 0, pool.shards_in_flight
        )
        now = time.monotonic()
        return cls(name, pool, handle, handle.ready.remote(), now, since=now)

    @property
    def takes_calls(self) -> bool:
        """Whether it may be given a task."""
        return bool(self.node) and not self.is_ending and self.dead_since is None

    @property
    def heads(self) -> list[Call]:
        """The calls that it has come to."""
        return [call for call in self.calls if call.since is not None]

    def has_room(self, num_calls: int) -> bool:
        """Whether one call more may be handed to it, which has so many already."""
        return len(self.calls) == num_calls < max(self.pool.shards_in_flight, 2)

    def give(self, shared: Any, task: Task, views: Any = None) -> None:
        """Hand it a task, which it begins when it has a thread for it.

        Packets that it makes are objects of their own, which stay in the store of its node and
        belong to this process: they outlive the actor.

        Args:
            shared: Reference to the `WorkerSpec`.
            task: The task.
            views: Reference to a packet that holds its views.
        """
        begin = self.handle.begin.remote()
        arguments = (shared, task) if views is None else (shared, task, [views])
        if task.packs:
            run = self.handle.run.options(num_returns=1 + len(task.packs))
            answer, *packets = run.remote(*arguments)
        else:
            answer, packets = self.handle.run.remote(*arguments), []
        made = dict(zip(task.packs, packets, strict=True))
        self.calls.append(Call(task, begin, answer, made))
        self._come_to_calls()

    def answered(self, call: Call) -> Call:
        """Take off a call; if another one waits, the actor comes to it now."""
        self.calls.remove(call)
        self._come_to_calls()
        return call

    def _come_to_calls(self) -> None:
        now = time.monotonic()
        for call in list(self.calls)[: self.pool.shards_in_flight]:
            if call.since is None:
                call.since = now
        if not self.calls:
            self.since = now

    def died(self, verdict_s: float, code: str, reason: str) -> None:
        """Note a death that has been heard of."""
        self.dead_since = time.monotonic()
        self.verdict_s = verdict_s
        self.code = code
        self.reason = reason

    def member(self, now: float, room_made: float) -> Member:
        """Return what sizing looks at.

        Args:
            now: The time.
            room_made: When a worker last ended for another one.
        """
        since = self.since if self.node else max(self.since, room_made)
        return Member(self.name, self.pool, self.node, len(self.calls), self.is_ending, now - since)

    def end(self) -> None:
        """End the process, whatever it does."""
        ray.kill(self.handle)


class Failures:
    """Workers that died before they began anything, pool by pool.

    Those that were asked for before the last failure do not count again: one lost node may take
    several with it.
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._last: dict[str, float] = {}

    def begun(self, pool: Pool) -> None:
        """Forget: a worker of this pool has come to work."""
        self._counts.pop(pool.name, None)

    def add(self, actor: Actor, error: BaseException | None, reason: str) -> None:
        """Count a failure.

        Raises:
            LongtailError: It was one too many.
        """
        name = actor.pool.name
        if actor.asked <= self._last.get(name, float("-inf")):
            return
        self._last[name] = time.monotonic()
        self._counts[name] = self._counts.get(name, 0) + 1
        if self._counts[name] >= MAX_FAILED_STARTS:
            advice = next((a for kind, a in _ADVICE.items() if isinstance(error, kind)), "")
            message = (
                f"{name}: {MAX_FAILED_STARTS} workers in a row ended before they began to work, "
                f"the last one so: {reason}{'; ' if advice else ''}{advice}"
            )
            raise LongtailError(message) from error


def last_line(error: BaseException) -> str:
    """Return the line that says what happened, under a traceback or a list of facts."""
    lines = [line for line in str(error).splitlines() if line.strip() and line[0] != "\t"]
    return lines[-1].strip()[:500] if lines else type(error).__name__
