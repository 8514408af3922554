"""Runs a plan on Ray: one submit loop over pools of actors.

Ray restarts nothing (`max_restarts=0, max_task_retries=0`): the loop decides. Each actor writes the
files of its own stages, so there is no writer to starve. At most two calls are in flight for an
actor: one runs, one waits; or, with several shards in flight, as many as run. A try is charged only
to a call that had begun, for an exception, a time-out or the death of a process on a live node, and
only where no other had begun in the same process; lost nodes and objects are free, up to a cap.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayError, RayTaskError

from curation.errors import ResourceError
from curation.pipeline.config import NodeLimit
from curation.pipeline.dispatch import Dispatch
from curation.pipeline.flight import longest_call_s
from curation.pipeline.runner import Feed, Pool
from curation.pipeline.tasks import CPU_POOL, Task, TaskResult, WorkerSpec
from jobs.actors import DEATHS, Actor, Call, Failures, last_line
from jobs.admission import admit
from jobs.cluster import Cluster
from jobs.connect import connect
from jobs.pool_sizes import Demand, size_pools
from jobs.prefetch import Prefetch

DEADLINE_MARGIN_S = 30.0
"""The worker ends a task itself at its time limit; the loop ends the worker this much later, and
one that does not come to its next call in this time."""

_TICK_S = 0.2
_SIZE_S = 1.0
"""How often pools are sized."""
_VERDICT_S = 3.0
"""After an actor's death, how long to wait for the news that its node died with it."""
_SILENCE_S = 45.0
"""The same for an actor that cannot be reached: Ray takes half a minute to give a node up."""


class RayRunner:
    """One of two back ends; see `curation.pipeline.runner.Runner`.

    Args:
        address: Of a running cluster; null takes `RAY_ADDRESS`, or starts Ray on this machine.
        start_timeout_s: Time that a pool may be without any worker while nothing of ours is in its
            way; null for 60 s, or 900 s where an autoscaler can add nodes.
        max_nodes: Node type -> how many of it an autoscaler may have.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        start_timeout_s: float | None = None,
        max_nodes: Mapping[str, NodeLimit] | None = None,
    ) -> None:
        self._address = address
        self._start_timeout_s = start_timeout_s
        self._max_nodes = max_nodes or {}
        self._cluster = Cluster(self._max_nodes)
        self._prefetch: Prefetch
        self._owns_ray = False
        self._actors: dict[str, Actor] = {}
        self._number = 0
        self._failures = Failures()
        self._size_at = 0.0
        self._room_made = 0.0
        self._stuck_since: dict[str, float] = {}

    def check(self, pools: Sequence[Pool]) -> None:
        """Connect, and refuse pools whose smallest sizes can never be had together."""
        if not ray.is_initialized():
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
        own = [pool for pool in pools if pool.name != CPU_POOL]
        self._prefetch = Prefetch(spec, own, lambda: self._cluster.store_bytes)
        self._size_at = 0.0
        while True:
            for task in feed.poll() if feed is not None else []:
                dispatch.add(task)
            self._cluster.look()
            self._size_pools(pools, dispatch)
            self._hand_out(shared, pools, dispatch)
            in_flight = any(actor.calls for actor in self._actors.values())
            if not in_flight and dispatch.is_idle and (feed is None or feed.is_done):
                return
            self._wait(dispatch)
            self._end_overdue(spec)
            self._bury(dispatch)
            on_tick()

    def close(self) -> None:
        """End every actor, and Ray itself if this runner started it."""
        for actor in self._actors.values():
            actor.end()
        self._actors.clear()
        if self._owns_ray:
            ray.shutdown()
            self._owns_ray = False

    # Pools -------------------------------------------------------------------------------------

    def _size_pools(self, pools: Sequence[Pool], dispatch: Dispatch) -> None:
        """Start and end workers, as `jobs.pool_sizes` decides."""
        now = time.monotonic()
        if now < self._size_at:
            return
        self._size_at = now + _SIZE_S
        changes = size_pools(
            [self._demand(pool, dispatch) for pool in pools],
            [a.member(now, self._room_made) for a in self._actors.values() if a.dead_since is None],
            self._cluster.nodes,
            self._cluster.free,
            self._cluster.startable,
        )
        for name in changes.end:
            self._actors[name].is_ending = True
        self._end_idle(dispatch)
        by_name = {pool.name: pool for pool in pools}
        for name in changes.start:
            self._number += 1
            actor = Actor.start(f"{name}-{self._number}", by_name[name])
            self._actors[actor.name] = actor
        tasks = {pool.name for pool in pools if any(dispatch.count(pool.name).values())}
        self._check_stuck(pools, changes.stuck & tasks)  # nobody depends on views made ahead

    def _demand(self, pool: Pool, dispatch: Dispatch) -> Demand:
        """Say what a pool has to do; for the CPU pool, views that are to be made count as tasks."""
        demand = Demand(pool, **dispatch.count(pool.name))
        if pool.name != CPU_POOL:
            return demand
        calls = (call for actor in self._actors.values() for call in actor.calls)
        making = sum(1 for call in calls if not call.task.steps)
        wanted = self._prefetch.num_wanted(dispatch)
        return replace(demand, ready=demand.ready + wanted, running=demand.running + making)

    def _end_idle(self, dispatch: Dispatch) -> None:
        """End the workers that shall end and have no calls."""
        for actor in [a for a in self._actors.values() if a.is_ending and not a.calls]:
            actor.end()
            dispatch.left(actor.name)
            del self._actors[actor.name]
            if actor.node:
                self._room_made = time.monotonic()

    def _check_stuck(self, pools: Sequence[Pool], stuck: frozenset[str]) -> None:
        assert self._start_timeout_s is not None
        now = time.monotonic()
        staffed = {actor.pool.name for actor in self._actors.values() if actor.node}
        for pool in pools:
            if pool.name not in stuck or pool.name in staffed:
                self._stuck_since.pop(pool.name, None)
            elif now - self._stuck_since.setdefault(pool.name, now) > self._start_timeout_s:
                message = (
                    f"{pool.name}: no worker with {pool.needs} could be "
                    f"started within {self._start_timeout_s:g} s, because others use the cluster "
                    "or nodes did not come up; free resources or raise run.start_timeout_s"
                )
                raise ResourceError(message)

    # Calls -------------------------------------------------------------------------------------

    def _hand_out(self, shared: Any, pools: Sequence[Pool], dispatch: Dispatch) -> None:
        """Give each idle worker a call, then a second one while there is plenty, and so on."""
        teams: dict[str, list[Actor]] = {pool.name: [] for pool in pools}
        for actor in self._actors.values():
            if actor.takes_calls:
                teams[actor.pool.name].append(actor)
        self._prefetch.look({name: len(team) for name, team in teams.items()}, dispatch)
        for name, team in teams.items():
            self._fill(team, shared, dispatch, dispatch.count(name)["ready"])
            is_idle = bool(team) and not any(actor.calls for actor in team)
            if is_idle and not self._prefetch.is_awaited(name):
                # Every worker that does not rest has failed at what is left: one tries it again.
                tasks = (dispatch.next(actor.name, name, alone=True) for actor in team)
                any(self._give(a, shared, task) for a, task in zip(team, tasks, strict=True))
            for actor in team:
                if not actor.calls and dispatch.is_benched(actor.name):
                    actor.since = time.monotonic()  # it rests, which is not idling

    def _fill(self, team: Sequence[Actor], shared: Any, dispatch: Dispatch, num_ready: int) -> None:
        for actor in team:
            if not actor.calls:
                num_ready -= self._give(actor, shared, self._next(actor, dispatch))
        # Less than one for each, and somebody would wait behind one worker beside idle ones. Where
        # several are in flight, nobody waits.
        in_flight = max((actor.pool.shards_in_flight for actor in team), default=1)
        plenty = len(team) if in_flight > 1 else num_ready - len(team)
        for number in range(1, in_flight + 1):
            for actor in team[: max(plenty, 0)]:
                if actor.has_room(number):
                    self._give(actor, shared, self._next(actor, dispatch))

    def _next(self, actor: Actor, dispatch: Dispatch) -> Task | None:
        """Choose what a worker does next.

        GPUs wait for views rather than cores for tasks, so those come first where they are short,
        and last where they are not.
        """
        name, pool, node = actor.name, actor.pool.name, actor.node
        if self._prefetch.feeds(pool):
            return self._prefetch.next(name, pool, node, len(actor.calls), dispatch)
        if pool != CPU_POOL or dispatch.is_benched(name):
            return dispatch.next(name, pool)
        if task := self._prefetch.make(node, dispatch, urgent=True):
            return task
        if task := dispatch.next(name, pool):
            return self._prefetch.packing(task, node, dispatch)
        return self._prefetch.make(node, dispatch, urgent=False)

    def _give(self, actor: Actor, shared: Any, task: Task | None) -> bool:
        """Hand a worker a task, if there is one for it; say whether there was."""
        if task is not None:
            actor.give(shared, task, self._prefetch.reference(task))
        return task is not None

    def _wait(self, dispatch: Dispatch) -> None:
        """Wait a moment for an answer or a start, and take in all that have come."""
        living = [actor for actor in self._actors.values() if actor.dead_since is None]
        starts = {actor.ready: actor for actor in living if not actor.node}
        calls = {call.next_ref: (actor, call) for actor in living for call in actor.heads}
        refs = [*starts, *calls]
        if not refs:
            time.sleep(_TICK_S)
            return
        done, _ = ray.wait(refs, num_returns=1, timeout=_TICK_S)
        if done:
            done, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        for ref in done:
            if ref in starts:
                self._take_ready(starts[ref])
            elif ref == calls[ref][1].begin:
                self._take_begin(*calls[ref])
            else:
                self._take_answer(*calls[ref], dispatch)
        self._end_idle(dispatch)

    def _take_ready(self, actor: Actor) -> None:
        now = time.monotonic()
        try:
            actor.node = ray.get(actor.ready)
        except RayError as error:
            actor.end()
            del self._actors[actor.name]
            self._failures.add(actor, error, last_line(error))
        else:
            actor.since = now
            if actor.node not in self._cluster.nodes:  # one that an autoscaler just added
                self._cluster.look(anew=True)
        self._size_at = min(self._size_at, now + _TICK_S)

    def _take_begin(self, actor: Actor, call: Call) -> None:
        try:
            ray.get(call.begin)
        except RayError as error:
            actor.end()
            actor.died(_VERDICT_S, "crashed", last_line(error))
        else:
            call.has_begun = True
            call.since = time.monotonic()
            self._failures.begun(actor.pool)

    def _take_answer(self, actor: Actor, call: Call, dispatch: Dispatch) -> None:
        try:
            result: TaskResult = ray.get(call.answer)
        except RayTaskError as error:  # a bug of ours: the worker turns all else into results
            self._ended(actor, call)
            if call.task.steps:
                dispatch.died(call.task.key, actor.name, "exception", last_line(error))
        except ActorUnavailableError:
            actor.end()  # it may still run: no task may be done twice at once
            actor.died(_SILENCE_S, "crashed", "the worker could not be reached")
        except OutOfMemoryError:
            actor.died(_VERDICT_S, "memory", "Ray ended the worker: its node ran out of memory")
        except DEATHS:
            actor.died(_VERDICT_S, "crashed", "the worker's process died")
        except RayError as error:  # the specification's object went with its node
            self._ended(actor, call)
            if call.task.steps:
                dispatch.lost(call.task.key, actor.name, last_line(error))
        else:
            self._ended(actor, call, result.packed)
            if self._prefetch.feeds(actor.pool.name) and not result.hindrance:
                result = replace(result, is_fed=bool(result.is_fed))
            if call.task.steps:
                dispatch.finished(call.task.key, result, actor.name)

    def _ended(self, actor: Actor, call: Call, packed: Sequence[str] = ()) -> None:
        """Take a call off its worker; what it packed is for others to see."""
        actor.answered(call)
        self._prefetch.ended(call.task, {name: call.packets[name] for name in packed})

    # Deaths ------------------------------------------------------------------------------------

    def _end_overdue(self, spec: WorkerSpec) -> None:
        """End who does not answer, or does not come to its next call."""
        now = time.monotonic()
        for actor in self._actors.values():
            if actor.dead_since is not None:
                continue
            answer_s = longest_call_s(spec, actor.pool.shards_in_flight) + DEADLINE_MARGIN_S
            for call in actor.heads:
                limit_s = answer_s if call.has_begun else DEADLINE_MARGIN_S
                if call.since is not None and now - call.since > limit_s:
                    actor.end()
                    actor.died(0.0, "timeout", f"no answer for {limit_s:g} s")
                    break

    def _bury(self, dispatch: Dispatch) -> None:
        """Decide, a moment after each death, whether the process died or its node."""
        now = time.monotonic()
        for actor in list(self._actors.values()):
            node_lives = actor.node in self._cluster.nodes
            if actor.dead_since is None:
                if not actor.node or node_lives:
                    continue
            elif node_lives and now - actor.dead_since < actor.verdict_s:
                continue
            del self._actors[actor.name]
            actor.end()
            dispatch.left(actor.name)
            self._size_at = 0.0
            if actor.calls:
                self._clear(actor, dispatch, node_lives=node_lives)
            elif node_lives:
                self._failures.add(actor, None, actor.reason)

    def _clear(self, actor: Actor, dispatch: Dispatch, *, node_lives: bool) -> None:
        """Say what becomes of the calls of a worker that is no more."""
        begun = [call for call in actor.calls if call.has_begun]
        for call in reversed(actor.calls):
            if not call.has_begun:
                self._prefetch.unstarted(call.task)
                if call.task.steps:
                    dispatch.unstarted(call.task.key)
        for call in begun:
            self._prefetch.ended(call.task, {})
        keys = [call.task.key for call in begun if call.task.steps]
        if not node_lives:
            for key in reversed(keys):
                dispatch.lost(key, actor.name, f"node {actor.node[:12]} was lost")
        elif keys:
            dispatch.died_with(keys, actor.name, actor.code, actor.reason)
        elif not begun:
            self._failures.add(actor, None, actor.reason)
