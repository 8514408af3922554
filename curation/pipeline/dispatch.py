"""Who does what next, what counts as a try, and when a shard is given up.

Plain state, no clock, no threads, no Ray: runners feed it events and ask it for work. Both runners
share it, so both give the same answers.

- A task is handed out once its `after` tasks have ended, to a worker that has not failed at it if
  there is another.
- A try is charged to the step that was running, for an exception, a time-out, or the death of a
  process on a live node. The charge is written before the next try.
- Lost nodes and objects are free, up to a cap.
- At `MAX_TRIES` charges the step is quarantined for that shard; what reads it is blocked; the rest
  goes on.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from curation.pipeline.tasks import StepResult, Task, TaskResult

MAX_TRIES = 3
MAX_FREE_TRIES = 20


@dataclass(frozen=True)
class Charge:
    """One failed try.

    Attributes:
        code: `exception`, `contract`, `crashed`, `timeout`, `memory` or `lost`.
        text: What happened, in a line.
        worker: Who tried.
    """

    code: str
    text: str
    worker: str


@dataclass
class _Entry:
    task: Task
    steps: tuple[str, ...]
    avoid: set[str] = field(default_factory=set)
    free_tries: int = 0


Outcome = Literal["done", "quarantined", "blocked"]


@dataclass(frozen=True)
class StepEnd:
    """How a step of a task ended for good.

    Attributes:
        task: The task, as it was added.
        step: The instance.
        outcome: `done`, `quarantined`, or `blocked` by a quarantined step before it.
        result: The last result, for its counts.
    """

    task: Task
    step: str
    outcome: Outcome
    result: StepResult


class Dispatch:
    """The state machine.

    Args:
        dependants: Step -> the steps that read it.
        prior: Charges so far of (step, task name), from charge sheets written by earlier runs.
        on_charge: Called with (task, step, all charges, quarantined) before the next try.
        on_end: Called when a step has ended for good.
        is_made: Says of (task, step) whether its file exists; asked when a worker died, so that
            steps that it had finished are not charged.
    """

    def __init__(
        self,
        dependants: Callable[[str], Iterable[str]],
        prior: Callable[[str, str], list[Charge]],
        on_charge: Callable[[Task, str, list[Charge], bool], None],
        on_end: Callable[[StepEnd], None],
        is_made: Callable[[Task, str], bool] = lambda task, step: False,
    ) -> None:
        self._dependants = dependants
        self._prior = prior
        self._on_charge = on_charge
        self._on_end = on_end
        self._is_made = is_made
        self._ready: dict[str, OrderedDict[str, _Entry]] = {}
        self._waiting: dict[str, _Entry] = {}
        self._running: dict[str, _Entry] = {}
        self._ended: set[str] = set()
        self._charges: dict[tuple[str, str], list[Charge]] = {}
        self._given_up: set[tuple[str, int | None]] = set()

    # Adding and asking -------------------------------------------------------------------------

    def add(self, task: Task) -> None:
        """Take in a task; it waits until every task that it names in `after` has ended."""
        entry = _Entry(task, task.steps)
        if all(key in self._ended for key in task.after):
            self._queue(entry)
        else:
            self._waiting[task.key] = entry

    def next(self, worker: str, pool: str, *, alone: bool = False) -> Task | None:
        """Hand out the next task of `pool`, or nothing.

        Args:
            worker: Who asks.
            pool: The pool that the worker belongs to.
            alone: There is no other worker, so one that failed at a task may try it again.
        """
        queue = self._ready.get(pool, OrderedDict())
        for key, entry in queue.items():
            if alone or worker not in entry.avoid:
                del queue[key]
                self._running[key] = entry
                return replace(entry.task, steps=entry.steps)
        return None

    def count(self, pool: str | None = None) -> dict[str, int]:
        """Return how many tasks are ready, waiting and running, of one pool or of all."""
        pools = self._ready if pool is None else {pool: self._ready.get(pool, OrderedDict())}
        own = [*self._waiting.values()], [*self._running.values()]
        waiting, running = (
            sum(1 for entry in group if pool is None or entry.task.pool == pool) for group in own
        )
        ready = sum(len(queue) for queue in pools.values())
        return {"ready": ready, "waiting": waiting, "running": running}

    @property
    def is_idle(self) -> bool:
        """Whether nothing is ready, waiting or running."""
        return not (any(self._ready.values()) or self._waiting or self._running)

    # What happened -----------------------------------------------------------------------------

    def finished(self, key: str, result: TaskResult, worker: str) -> None:
        """Take in a worker's answer: steps are done, or charged, or go again."""
        entry = self._running.pop(key)
        again: list[str] = []
        for step in entry.steps:
            outcome = result.steps[step]
            if outcome.status == "done":
                self._on_end(StepEnd(entry.task, step, "done", outcome))
            elif outcome.status == "failed":
                charge = Charge(outcome.code, outcome.text, worker)
                if self._charge(entry.task, step, charge):
                    self._on_end(StepEnd(entry.task, step, "quarantined", outcome))
                else:
                    again.append(step)
                    entry.avoid.add(worker)
            else:
                again.append(step)
        self._go_on(entry, again)

    def died(self, key: str, worker: str, code: str, text: str) -> None:
        """Take in that a worker died on a live node, or did not answer.

        Charged is the first step that it had not finished.
        """
        entry = self._running[key]
        steps: dict[str, StepResult] = {}
        charged = False
        for step in entry.steps:
            if not charged and self._is_made(entry.task, step):
                steps[step] = StepResult("done", entry.task.num_rows)
            elif not charged:
                steps[step] = StepResult("failed", code=code, text=text)
                charged = True
            else:
                steps[step] = StepResult("skipped")
        self.finished(key, TaskResult(steps), worker)

    def lost(self, key: str, worker: str, text: str) -> None:
        """Put back, without a charge, a task whose node or input was lost, up to a cap."""
        entry = self._running[key]
        entry.free_tries += 1
        if entry.free_tries > MAX_FREE_TRIES:
            text = f"lost {entry.free_tries} times, last: {text}"
            self.died(key, worker, "lost", text)
            return
        del self._running[key]
        self._put_first(entry)

    def unstarted(self, key: str) -> None:
        """Put back a task that its worker had not begun."""
        self._put_first(self._running.pop(key))

    # Inside ------------------------------------------------------------------------------------

    def _queue_of(self, entry: _Entry) -> OrderedDict[str, _Entry]:
        return self._ready.setdefault(entry.task.pool, OrderedDict())

    def _put_first(self, entry: _Entry) -> None:
        queue = self._queue_of(entry)
        queue[entry.task.key] = entry
        queue.move_to_end(entry.task.key, last=False)

    def _queue(self, entry: _Entry) -> None:
        """Make a task ready, unless all it would do is blocked."""
        steps = []
        for step in entry.steps:
            if (step, entry.task.shard) in self._given_up:
                self._on_end(StepEnd(entry.task, step, "blocked", StepResult("skipped")))
            else:
                steps.append(step)
        entry.steps = tuple(steps)
        if steps:
            self._queue_of(entry)[entry.task.key] = entry
        else:
            self._end(entry.task)

    def _charge(self, task: Task, step: str, charge: Charge) -> bool:
        """Write a charge; return whether it was the last one allowed."""
        place = (step, task.name)
        charges = self._charges.setdefault(place, list(self._prior(*place)))
        charges.append(charge)
        given_up = len(charges) >= MAX_TRIES
        self._on_charge(task, step, list(charges), given_up)
        if given_up:
            shard = task.shard
            self._given_up |= {(name, shard) for name in self._dependants(step)}
            if shard is None:  # no groups without every pair of blocks
                self._given_up.add((step, None))
        return given_up

    def _go_on(self, entry: _Entry, steps: list[str]) -> None:
        entry.steps = tuple(steps)
        if steps:
            self._queue(entry)
        else:
            self._end(entry.task)

    def _end(self, task: Task) -> None:
        self._ended.add(task.key)
        free = [e for e in self._waiting.values() if all(k in self._ended for k in e.task.after)]
        for entry in free:
            self._waiting.pop(entry.task.key, None)
            self._queue(entry)
