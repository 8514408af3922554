"""Runs a plan on Ray: one submit loop over pools of actors.

Ray restarts nothing (`max_restarts=0, max_task_retries=0`): the loop decides. Each actor writes the
files of its own stages, so there is no writer to starve. At most two calls are in flight for an
actor: one runs, one waits. A try is charged only to the call at the head, for an exception, a
time-out or the death of a process on a live node; lost nodes and objects are free, up to a cap.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, RayActorError, RayError, RayTaskError

from curation.errors import LongtailError, ResourceError
from curation.pipeline.dispatch import Dispatch
from curation.pipeline.runner import Feed, Pool
from curation.pipeline.tasks import Task, TaskResult, WorkerSpec
from jobs.admission import admit
from jobs.worker_actor import WorkerActor

IN_FLIGHT = 2
"""Calls that an actor holds: one runs, one waits, so it never idles between two."""

MAX_FAILED_STARTS = 3
DEADLINE_MARGIN_S = 30.0
"""The worker ends a task itself at its time limit; the loop ends the worker this much later."""

_TICK_S = 0.2
_VERDICT_S = 3.0
"""After an actor's death, how long to wait for the news that its node died with it."""
_IDLE_S = 5.0
"""How long a pool waits for room before an idle worker of another pool is ended for it."""


@dataclass
class _Call:
    ref: Any
    task: Task


@dataclass(eq=False)
class _Actor:
    """An actor as the loop sees it."""

    name: str
    pool: Pool
    handle: Any
    ready: Any
    asked: float
    node: str = ""
    calls: deque[_Call] = field(default_factory=deque)
    head_since: float = 0.0
    dead_since: float | None = None
    reason: str = ""


class RayRunner:
    """One of two back ends; see `curation.pipeline.runner.Runner`.

    Args:
        address: Of a running cluster; null takes `RAY_ADDRESS`, or starts Ray on this machine.
        start_timeout_s: Time that the smallest pools may stay pending; null for 60 s, or 900 s
            where an autoscaler can add nodes.
        max_nodes: Node type -> how many of it an autoscaler may have.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        start_timeout_s: float | None = None,
        max_nodes: dict[str, int] | None = None,
    ) -> None:
        self._address = address
        self._start_timeout_s = start_timeout_s
        self._max_nodes = max_nodes or {}
        self._owns_ray = False
        self._actors: list[_Actor] = []
        self._numbers = 0
        self._failed_starts = 0
        self._starved_since: float | None = None

    def check(self, pools: Sequence[Pool]) -> None:
        """Connect, and refuse pools whose smallest sizes can never be had together."""
        if not ray.is_initialized():
            from jobs.connect import connect

            self._owns_ray = connect(self._address)
        grows = admit(pools, ray.nodes(), self._max_nodes)
        if self._start_timeout_s is None:
            self._start_timeout_s = 900.0 if grows else 60.0

    def run(
        self,
        spec: WorkerSpec,
        pools: Sequence[Pool],
        dispatch: Dispatch,
        feed: Feed | None,
        on_tick: Callable[[], None],
    ) -> None:
        """Work until `dispatch` is idle and `feed` is done; see `Runner.run`."""
        shared = ray.put(spec)
        deadline_s = spec.task_timeout_s + DEADLINE_MARGIN_S
        while True:
            for task in feed.poll() if feed is not None else []:
                dispatch.add(task)
            self._size_pools(pools, dispatch)
            self._hand_out(shared, pools, dispatch)
            in_flight = any(actor.calls for actor in self._actors)
            if not in_flight and dispatch.is_idle and (feed is None or feed.is_done):
                return
            self._wait(dispatch)
            self._end_overdue(dispatch, deadline_s)
            self._bury(dispatch)
            on_tick()

    def close(self) -> None:
        """End every actor, and Ray itself if this runner started it."""
        for actor in self._actors:
            ray.kill(actor.handle)
        self._actors.clear()
        if self._owns_ray:
            ray.shutdown()
            self._owns_ray = False

    # Pools -------------------------------------------------------------------------------------

    def _living(self, pool: Pool) -> list[_Actor]:
        return [a for a in self._actors if a.pool.name == pool.name and a.dead_since is None]

    def _size_pools(self, pools: Sequence[Pool], dispatch: Dispatch) -> None:
        """Ask for the smallest pools at once; grow one at a time while the cluster has room."""
        available: dict[str, float] | None = None
        for pool in pools:
            counts = dispatch.count(pool.name)
            work = counts["ready"] + counts["running"]
            if not work:
                continue
            living = self._living(pool)
            while len(living) < pool.min_workers:
                living.append(self._start(pool))
            pending = [a for a in living if not a.node]
            most = pool.max_workers if pool.max_workers is not None else work
            if not pending and len(living) < min(most, work):
                available = ray.available_resources() if available is None else available
                if _fits(pool, available):
                    self._start(pool)
            self._check_pending(pool, pending)
            self._make_room(pool, pending, dispatch)

    def _start(self, pool: Pool) -> _Actor:
        self._numbers += 1
        name = f"{pool.name}-{self._numbers}"
        handle = WorkerActor.options(num_cpus=pool.cpus, num_gpus=pool.gpus).remote(
            pool.memory_bytes
        )
        actor = _Actor(name, pool, handle, handle.ready.remote(), time.monotonic())
        self._actors.append(actor)
        return actor

    def _check_pending(self, pool: Pool, pending: Sequence[_Actor]) -> None:
        assert self._start_timeout_s is not None
        if any(a.node for a in self._living(pool)) or not pending:
            return
        if time.monotonic() - min(a.asked for a in pending) > self._start_timeout_s:
            message = (
                f"{pool.name}: no worker with {pool.cpus:g} CPU and {pool.gpus:g} GPU could be "
                f"started within {self._start_timeout_s:g} s, because the cluster is busy or "
                "nodes did not come up; free resources or raise run.start_timeout_s"
            )
            raise ResourceError(message)

    def _make_room(self, pool: Pool, pending: Sequence[_Actor], dispatch: Dispatch) -> None:
        """End one idle worker of a pool that has no work when another pool cannot start."""
        if any(a.node for a in self._living(pool)) or not pending:
            return
        now = time.monotonic()
        if now - min(a.asked for a in pending) < _IDLE_S:
            return
        if self._starved_since is not None and now - self._starved_since < _IDLE_S:
            return  # the last victim's cores are still coming free
        for actor in self._actors:
            idle = actor.node and not actor.calls and actor.dead_since is None
            rich = len(self._living(actor.pool)) > actor.pool.min_workers
            spare = rich or not dispatch.count(actor.pool.name)["ready"]
            if actor.pool.name != pool.name and idle and spare:
                self._starved_since = now
                self._actors.remove(actor)
                ray.kill(actor.handle)
                return

    # Calls -------------------------------------------------------------------------------------

    def _hand_out(self, shared: Any, pools: Sequence[Pool], dispatch: Dispatch) -> None:
        """Give each ready actor up to two calls, the idle ones first."""
        for pool in pools:
            ready = [a for a in self._living(pool) if a.node]
            for depth in range(IN_FLIGHT):
                for actor in ready:
                    if len(actor.calls) == depth and not self._give(actor, shared, dispatch):
                        continue
            if ready and not any(a.calls for a in ready):
                # Every worker has failed at what is left: one of them tries it again.
                self._give(ready[0], shared, dispatch, alone=True)

    def _give(self, actor: _Actor, shared: Any, dispatch: Dispatch, *, alone: bool = False) -> bool:
        task = dispatch.next(actor.name, actor.pool.name, alone=alone)
        if task is None:
            return False
        if not actor.calls:
            actor.head_since = time.monotonic()
        actor.calls.append(_Call(actor.handle.run.remote(shared, task), task))
        return True

    def _wait(self, dispatch: Dispatch) -> None:
        """Wait a moment for an answer or a start, and take in all that have come."""
        living = [a for a in self._actors if a.dead_since is None]
        starting = {a.ready: a for a in living if not a.node}
        heads = {a.calls[0].ref: a for a in living if a.calls}
        refs = [*starting, *heads]
        if not refs:
            time.sleep(_TICK_S)
            return
        done, _ = ray.wait(refs, num_returns=1, timeout=_TICK_S)
        if done:
            done, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        for ref in done:
            if ref in starting:
                self._take_ready(starting[ref])
            else:
                self._take_answer(heads[ref], dispatch)

    def _take_ready(self, actor: _Actor) -> None:
        try:
            actor.node = ray.get(actor.ready)
            self._failed_starts = 0
        except RayActorError as error:
            self._actors.remove(actor)
            self._failed_starts += 1
            if self._failed_starts >= MAX_FAILED_STARTS:
                message = (
                    f"{actor.pool.name}: {self._failed_starts} workers in a row died while they "
                    f"started, the last one so: {_first_line(error)}"
                )
                raise LongtailError(message) from error

    def _take_answer(self, actor: _Actor, dispatch: Dispatch) -> None:
        call = actor.calls[0]
        try:
            result: TaskResult = ray.get(call.ref)
        except RayTaskError as error:  # a bug of ours: the worker turns all else into results
            actor.calls.popleft()
            dispatch.died(call.task.key, actor.name, "exception", _first_line(error))
        except ActorUnavailableError as error:
            ray.kill(actor.handle)  # it may still run: no task may be done twice at once
            self._suspect(actor, _first_line(error))
        except RayActorError as error:
            self._suspect(actor, _first_line(error))
        except RayError as error:  # the specification's object went with its node
            actor.calls.popleft()
            dispatch.lost(call.task.key, actor.name, _first_line(error))
        else:
            actor.calls.popleft()
            dispatch.finished(call.task.key, result, actor.name)
        actor.head_since = time.monotonic()

    def _end_overdue(self, dispatch: Dispatch, deadline_s: float) -> None:
        now = time.monotonic()
        for actor in list(self._actors):
            overdue = actor.calls and now - actor.head_since > deadline_s
            if overdue and actor.dead_since is None:
                ray.kill(actor.handle)
                self._actors.remove(actor)
                call = actor.calls.popleft()
                text = f"no answer for {deadline_s:g} s"
                dispatch.died(call.task.key, actor.name, "timeout", text)
                for waiting in actor.calls:
                    dispatch.unstarted(waiting.task.key)

    # Deaths ------------------------------------------------------------------------------------

    def _suspect(self, actor: _Actor, reason: str) -> None:
        actor.dead_since = time.monotonic()
        actor.reason = reason

    def _bury(self, dispatch: Dispatch) -> None:
        """Decide, a moment after each death, whether the process died or its node."""
        suspects = [a for a in self._actors if a.dead_since is not None]
        if not suspects:
            return
        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
        for actor in suspects:
            assert actor.dead_since is not None
            if actor.node in alive and time.monotonic() - actor.dead_since < _VERDICT_S:
                continue
            self._actors.remove(actor)
            head = actor.calls.popleft()
            if actor.node in alive:
                dispatch.died(head.task.key, actor.name, "crashed", "the worker's process died")
            else:
                dispatch.lost(head.task.key, actor.name, f"node {actor.node[:12]} was lost")
            for call in actor.calls:
                dispatch.unstarted(call.task.key)


def _fits(pool: Pool, available: dict[str, float]) -> bool:
    return available.get("CPU", 0) >= pool.cpus and available.get("GPU", 0) >= pool.gpus


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0][:500]
