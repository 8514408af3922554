"""Who does what next, what counts as a try, and when a shard is given up.

Plain state, no threads, no Ray: runners feed it events and ask it for work. Both runners share it,
so both give the same answers.

- A task is handed out once its `after` tasks have ended, to a worker that has not failed at it if
  there is another.
- A try is charged to the step that was running, for an exception, a time-out, or the death of a
  process on a live node. The charge is written before the next try.
- A worker that had several tasks in hand when it died charges none of them: each goes again alone.
- Lost nodes and objects are free, up to a cap. So is whatever keeps a worker from working at all,
  a store that is not reachable or a model that does not load: the worker rests (see `bench`), and
  the run ends where no worker of a pool gets on, since the next task would fare no better.
- A task that goes on hindering workers which do others well is charged after all.
- At `MAX_TRIES` charges the step is quarantined for that shard; what reads it is blocked; the rest
  goes on.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from curation.errors import HinderedError
from curation.pipeline.bench import MAX_HINDRANCES, Bench
from curation.pipeline.ready import Entry, ReadyTasks
from curation.pipeline.tasks import StepResult, Task, TaskResult
from curation.urls import redacted

MAX_TRIES = 3
MAX_FREE_TRIES = 20


@dataclass(frozen=True)
class Charge:
    """One failed try.

    Attributes:
        code: `exception`, `contract`, `crashed`, `timeout`, `memory` or `lost`.
        text: What happened, in a line; it is stored and shown, so secrets in URLs are taken out.
        worker: Who tried.
    """

    code: str
    text: str
    worker: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", redacted(self.text))


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
        on_answer: Called with every answer of a worker, before anything follows from it.
        clock: Seconds that only grow; workers that were hindered rest by it.

    Attributes:
        due: Step -> rows of all tasks that were added.
    """

    def __init__(
        self,
        dependants: Callable[[str], Iterable[str]],
        prior: Callable[[str, str], list[Charge]],
        on_charge: Callable[[Task, str, list[Charge], bool], None],
        on_end: Callable[[StepEnd], None],
        is_made: Callable[[Task, str], bool] = lambda task, step: False,
        on_answer: Callable[[Task, TaskResult, str], None] = lambda task, result, worker: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dependants = dependants
        self._prior = prior
        self._on_charge = on_charge
        self._on_end = on_end
        self._is_made = is_made
        self._on_answer = on_answer
        self.due: Counter[str] = Counter()
        self._ready: dict[str, ReadyTasks] = {}
        self._running: dict[str, Entry] = {}
        self._ended: set[str] = set()
        self._open: dict[str, Entry] = {}
        self._open_shards: Counter[tuple[str, int | None]] = Counter()
        self._blocks: dict[str, list[Entry]] = {}
        self._num_waiting: Counter[str] = Counter()
        self._num_running: Counter[str] = Counter()
        self._in_hand: Counter[str] = Counter()
        self._taken: set[str] = set()  # workers that have a task in hand which must run alone
        self._bench = Bench(clock)
        self._charges: dict[tuple[str, str], list[Charge]] = {}
        self._given_up: set[tuple[str, int | None]] = set()

    # Adding and asking -------------------------------------------------------------------------

    def add(self, task: Task) -> None:
        """Take in a task; it waits until every task that it names in `after` has ended."""
        entry = Entry(task, task.steps)
        self._open[task.key] = entry
        self._open_shards[task.pool, task.shard] += 1
        for step in task.steps:
            self.due[step] += task.num_rows
        blockers = set(task.after) - self._ended
        if not blockers:
            self._queue(entry)
            return
        entry.num_blockers = len(blockers)
        for key in blockers:
            self._blocks.setdefault(key, []).append(entry)
        self._num_waiting[task.pool] += 1

    def next(
        self, worker: str, pool: str, *, alone: bool = False, key: str | None = None
    ) -> Task | None:
        """Hand out the next task of `pool`; nothing to a worker that rests, or avoids what is left.

        Args:
            worker: Who asks.
            pool: The pool that the worker belongs to.
            alone: There is no other worker, so one that failed at a task may try it again.
            key: Hand out this task or none, instead of the first.
        """
        queue = self._ready.get(pool)
        if queue is None or self.is_benched(worker) or worker in self._taken:
            return None
        busy = self._in_hand[worker] > 0
        if key is None:
            entry = queue.take(worker, alone=alone, busy=busy)
        else:
            entry = queue.take_key(key, worker, busy=busy)
        if entry is None:
            return None
        entry.worker = worker
        self._in_hand[worker] += 1
        if entry.is_alone:
            self._taken.add(worker)
        entry.num_rests = self._bench.hand(worker, pool)
        self._running[entry.task.key] = entry
        self._num_running[pool] += 1
        return replace(entry.task, steps=entry.steps, is_alone=entry.is_alone)

    def ahead(self, pool: str, number: int) -> list[Task]:
        """Return the tasks that `next` would hand out first, at most `number`."""
        queue = self._ready.get(pool)
        return [] if queue is None else queue.ahead(number)

    def is_open(self, key: str) -> bool:
        """Say whether a task was added and has not ended."""
        return key in self._open

    def is_shard_open(self, pool: str, shard: int | None) -> bool:
        """Say whether a pool has tasks of a shard that have not ended."""
        return self._open_shards[pool, shard] > 0

    def follows(self, key: str, before: str) -> bool:
        """Say whether a task is ready, or will be once the task `before` has ended."""
        entry = self._open.get(key)
        if entry is None or key in self._running:
            return False
        is_last = entry.num_blockers == 1 and before in entry.task.after
        return not entry.num_blockers or (is_last and before in self._open)

    def is_benched(self, worker: str) -> bool:
        """Say whether a worker was hindered and rests: it is not idle for want of tasks."""
        return self._bench.is_benched(worker)

    def left(self, worker: str) -> None:
        """Take in that a worker without a task is no more."""
        self._bench.leave(worker)

    def count(self, pool: str | None = None) -> dict[str, int]:
        """Return how many tasks are ready, waiting and running, of one pool or of all."""
        queues = [q for name, q in self._ready.items() if pool in (None, name)]
        waiting, running = (
            counts.total() if pool is None else counts[pool]
            for counts in (self._num_waiting, self._num_running)
        )
        return {
            "ready": sum(len(queue) for queue in queues),
            "waiting": waiting,
            "running": running,
        }

    @property
    def is_idle(self) -> bool:
        """Whether nothing is ready, waiting or running."""
        return not any(self.count().values())

    # What happened -----------------------------------------------------------------------------

    def finished(self, key: str, result: TaskResult, worker: str) -> None:
        """Take in a worker's answer: steps are done, or charged, or go again.

        Raises:
            HinderedError: No worker of the pool could work on what it was given.
        """
        entry = self._leave(key)
        result = replace(result, hindrance=redacted(result.hindrance))
        self._on_answer(entry.task, result, worker)
        if result.hindrance:
            self._hindered(entry, result, worker)
        else:
            pool = entry.task.pool
            busy = (e.worker for e in self._running.values() if e.task.pool == pool)
            self._bench.worked(worker, pool, busy)
            self._settle(entry, result, worker)

    def died(self, key: str, worker: str, code: str, text: str) -> None:
        """Take in that a worker died on a live node, or did not answer.

        Charged is the first step that it had not finished.
        """
        entry = self._leave(key)
        self._bench.leave(worker)
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
        self._settle(entry, TaskResult(steps), worker)

    def died_with(self, keys: Sequence[str], worker: str, code: str, text: str) -> None:
        """Take in that a worker died on a live node with these tasks in hand.

        Who of several was at fault is not known: none is charged, and each goes again in a worker
        that has nothing else in hand, where another death is its own.
        """
        if len(keys) == 1:
            self.died(keys[0], worker, code, text)
            return
        self._bench.leave(worker)
        for key in reversed(keys):
            entry = self._leave(key)
            entry.is_alone = True
            self._put_first(entry)

    def lost(self, key: str, worker: str, text: str) -> None:
        """Put back, without a charge, a task whose node or input was lost, up to a cap."""
        entry = self._running[key]
        entry.free_tries += 1
        if entry.free_tries > MAX_FREE_TRIES:
            text = f"lost {entry.free_tries} times, last: {text}"
            self.died(key, worker, "lost", text)
            return
        self._bench.leave(worker)
        self._put_first(self._leave(key))

    def unstarted(self, key: str) -> None:
        """Put back a task that its worker, which is no more, had not begun."""
        entry = self._leave(key)
        self._bench.leave(entry.worker)
        self._put_first(entry)

    # Inside ------------------------------------------------------------------------------------

    def _queue_of(self, entry: Entry) -> ReadyTasks:
        return self._ready.setdefault(entry.task.pool, ReadyTasks())

    def _put_first(self, entry: Entry) -> None:
        self._queue_of(entry).put_first(entry)

    def _leave(self, key: str) -> Entry:
        """Return a running entry, which runs no longer."""
        entry = self._running.pop(key)
        self._num_running[entry.task.pool] -= 1
        self._in_hand[entry.worker] -= 1
        self._taken.discard(entry.worker)
        return entry

    def _settle(self, entry: Entry, result: TaskResult, worker: str) -> None:
        """Do what follows from a try: charges are written, ends are told, the rest goes again."""
        again: list[str] = []
        for step in entry.steps:
            outcome = result.steps[step]
            if outcome.status == "done":
                self._on_end(StepEnd(entry.task, step, "done", outcome))
            elif outcome.status == "failed":
                charge = Charge(outcome.code, outcome.text, worker)
                if self._charge(entry.task, step, charge):
                    outcome = replace(outcome, text=charge.text)
                    self._on_end(StepEnd(entry.task, step, "quarantined", outcome))
                else:
                    again.append(step)
                    entry.avoid |= {worker}
            else:
                again.append(step)
        self._go_on(entry, again)

    def _hindered(self, entry: Entry, result: TaskResult, worker: str) -> None:
        """Put back, without a charge, what a worker could not work on; the worker rests.

        Another worker takes it if there is one: a single machine may be at fault. The second time,
        other tasks come first: whether they fare better tells what is at fault.
        """
        pool = entry.task.pool
        if self._is_at_fault(entry, worker):
            self._bench.rest(worker)
            self._settle(entry, _blamed(entry, result), worker)
            return
        again = []
        for step in entry.steps:
            outcome = result.steps.get(step)
            if outcome is not None and outcome.status == "done":
                self._on_end(StepEnd(entry.task, step, "done", outcome))
            else:
                again.append(step)
        entry.steps = tuple(again)
        entry.avoid |= {worker}
        if not again:
            self._end(entry.task)
        elif entry.num_hindrances == 1:
            self._put_first(entry)
        else:
            self._queue_of(entry).append(entry)
        if self._bench.hindered(worker, pool, entry.num_rests):
            message = f"{result.hindrance} ({pool}: no worker could work on any of its tasks)"
            raise HinderedError(message)

    def _is_at_fault(self, entry: Entry, worker: str) -> bool:
        """Count a hindrance; say whether workers do well what is not this task."""
        entry.num_hindrances += 1
        entry.hindered.setdefault(worker, self._bench.successes(worker))
        return entry.num_hindrances >= MAX_HINDRANCES and any(
            self._bench.successes(name) > before for name, before in entry.hindered.items()
        )

    def _queue(self, entry: Entry) -> None:
        """Make a task ready, unless all it would do is blocked."""
        steps = []
        for step in entry.steps:
            if (step, entry.task.shard) in self._given_up:
                self._on_end(StepEnd(entry.task, step, "blocked", StepResult("skipped")))
            else:
                steps.append(step)
        entry.steps = tuple(steps)
        if steps:
            self._queue_of(entry).append(entry)
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

    def _go_on(self, entry: Entry, steps: list[str]) -> None:
        entry.steps = tuple(steps)
        if steps:
            self._queue(entry)
        else:
            self._end(entry.task)

    def _end(self, task: Task) -> None:
        self._ended.add(task.key)
        if self._open.pop(task.key, None) is not None:
            self._open_shards[task.pool, task.shard] -= 1
        for entry in self._blocks.pop(task.key, ()):
            entry.num_blockers -= 1
            if not entry.num_blockers:
                self._num_waiting[entry.task.pool] -= 1
                self._queue(entry)


def _blamed(entry: Entry, result: TaskResult) -> TaskResult:
    """Return an answer with its hindrance as the failure of the first step that was not done."""
    steps: dict[str, StepResult] = {}
    is_blamed = any(outcome.status == "failed" for outcome in result.steps.values())
    for step in entry.steps:
        steps[step] = result.steps.get(step, StepResult("skipped"))
        if steps[step].status == "skipped" and not is_blamed:
            steps[step] = StepResult("failed", code="exception", text=result.hindrance)
            is_blamed = True
    return replace(result, steps=steps)
