"""A worker with several shards in hand: an engine's queue does not run empty between two of them.

The shards share one child process and the stage that is set up there, each in a thread of its own.
Who of them made the child die, hang or run out of memory is not known. So none of them is charged:
each is run again alone, by the worker that takes one at a time and finds the row which is at fault.
After that they fly together again.
"""

import contextlib
import logging
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Protocol

from curation.pipeline.child_process import ChildProcess
from curation.pipeline.messages import OutOfMemory, Request
from curation.pipeline.progress import BEGINNING, Position
from curation.pipeline.tasks import Task, TaskResult, WorkerSpec
from curation.pipeline.worker import (
    POLL_S,
    START_TIMEOUT_S,
    ShardWorker,
    WorkerStoppedError,
    row_timeout,
)

log = logging.getLogger("longtail.worker")


class Worker(Protocol):
    """Runs tasks, whatever happens to the child that does them."""

    def run(
        self, spec: WorkerSpec, task: Task, packets: Mapping[str, int] | None = None
    ) -> TaskResult:
        """Do a task; `WorkerStoppedError` where `kill` was called."""

    def close(self) -> None:
        """End the child."""

    def kill(self) -> None:
        """End the child at once, and `run` with it, for good."""


def make_worker(
    memory_bytes: int, *, limit_address_space: bool = True, shards_in_flight: int = 1
) -> Worker:
    """Return a worker whose `run` may be called by `shards_in_flight` threads at the same time."""
    worker = ShardWorker(
        memory_bytes, limit_address_space=limit_address_space, num_slots=shards_in_flight
    )
    return worker if shards_in_flight == 1 else Flight(worker, shards_in_flight)


def longest_call_s(spec: WorkerSpec, shards_in_flight: int) -> float:
    """Return the time within which a worker answers for a task, however its neighbours fare.

    In a flight of n: alone runs of all n - 1 before it, then n times the time of one task in
    company, and alone runs of all n after that.
    """
    if shards_in_flight == 1:
        return START_TIMEOUT_S + spec.task_timeout_s
    return 3 * shards_in_flight * (START_TIMEOUT_S + spec.task_timeout_s)


@dataclass
class _Call:
    """A task in hand.

    Attributes:
        spec: How to do it.
        task: The task.
        packets: Its views.
        done: Its result.
        is_alone: Whether nothing else may be in hand while it runs.
        deadline: When its time in company is over.
        position: What was last seen of its progress.
        changed: When that last changed.
    """

    spec: WorkerSpec
    task: Task
    packets: Mapping[str, int]
    done: Future[TaskResult] = field(default_factory=Future)
    is_alone: bool = False
    deadline: float = 0.0
    position: Position | None = None
    changed: float = 0.0


class Flight:
    """Runs as many tasks at once as there are slots; see the module.

    A task that is no shard is never run in company. In company everything may take as many times as
    long as alone, rows and tasks alike, since they share the worker.

    Args:
        worker: Holds the child, and runs what must run alone.
        num_slots: Tasks in hand at once.
    """

    def __init__(self, worker: ShardWorker, num_slots: int) -> None:
        self._worker = worker
        self._num_slots = num_slots
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._called = os.eventfd(0, os.EFD_NONBLOCK)
        self._waiting: deque[_Call] = deque()
        self._flying: dict[int, _Call] = {}
        self._restarts = 0
        self._lock = threading.Lock()
        self._is_closing = False
        self._end: BaseException | None = None
        # The child ends with the thread that started it, so one thread does all of that.
        self._thread = threading.Thread(target=self._serve, name="flight", daemon=True)
        self._thread.start()

    def run(
        self, spec: WorkerSpec, task: Task, packets: Mapping[str, int] | None = None
    ) -> TaskResult:
        """Do a task, beside those of other threads; see `ShardWorker.run`.

        Raises:
            WorkerStoppedError: `kill` was called.
        """
        call = _Call(spec, task, packets or {}, is_alone=task.is_alone or task.kind != "shard")
        with self._lock:
            if self._end is not None:
                raise WorkerStoppedError from self._end
            self._put(call)
        return call.done.result()

    def close(self) -> None:
        """End the child; nothing may be in hand."""
        with self._lock:
            if self._end is None:
                self._put(None)
        self._thread.join()

    def kill(self) -> None:
        """End the child at once, and every `run` with it, for good."""
        self._worker.kill()
        self.close()

    # The thread --------------------------------------------------------------------------------

    def _put(self, call: _Call | None) -> None:
        self._calls.put(call)
        os.eventfd_write(self._called, 1)

    def _serve(self) -> None:
        """Take calls until `close`; whatever ends this ends all that wait for a result."""
        end: BaseException = WorkerStoppedError()
        try:
            while self._take(wait=not self._waiting):
                if self._waiting[0].is_alone:
                    call = self._waiting[0]
                    self._answer(call, self._worker.run(call.spec, call.task, call.packets))
                    self._waiting.popleft()
                else:
                    self._fly()
        except WorkerStoppedError:
            pass  # which is what all that wait are told
        except BaseException as error:  # noqa: BLE001 (raised again in the threads that wait)
            end = error
        self._worker.close()
        with self._lock:
            self._end = end
            self._take(wait=False)
            os.close(self._called)
        for call in [*self._flying.values(), *self._waiting]:
            call.done.set_exception(end)

    def _take(self, *, wait: bool) -> bool:
        """Take in what was called for; say false once `close` was."""
        while not self._calls.empty() or (wait and not self._is_closing):
            call = self._calls.get()
            if call is None:
                self._is_closing = True
            else:
                self._waiting.append(call)
            wait = False
        return not self._is_closing

    def _answer(self, call: _Call, result: TaskResult) -> None:
        restarts, self._restarts = self._restarts, 0
        call.done.set_result(replace(result, restarts=result.restarts + restarts))

    def _fly(self) -> None:
        """Keep the slots full, until a task must run alone or there is none."""
        child = self._worker.start(self._waiting[0].spec, self._waiting[0].task)
        if child is None:
            self._waiting[0].is_alone = True  # which tells what is the matter
            return
        try:
            while self._take(wait=False):
                self._fill(child)
                if not self._flying:
                    break
                self._listen(child)
                if self._is_overdue(child):
                    raise TimeoutError
        except (EOFError, OSError):
            self._part(child)

    def _fill(self, child: ChildProcess) -> None:
        """Give the empty slots something to do."""
        for number in range(self._num_slots):
            if not self._waiting or self._waiting[0].is_alone:
                return
            if number not in self._flying:
                call = self._waiting.popleft()
                self._flying[number] = call
                call.changed = time.monotonic()
                call.deadline = call.changed + self._num_slots * call.spec.task_timeout_s
                child.slots[number].at(len(call.task.steps), BEGINNING)
                self._worker.send(
                    call.spec, Request(None, call.task, {}, None, number, call.packets)
                )

    def _listen(self, child: ChildProcess) -> None:
        """Take in a word of the child, if there is one before long.

        Raises:
            EOFError: It has ended, or is about to. OSError: The same.
        """
        reply = child.receive(POLL_S, self._called)
        with contextlib.suppress(BlockingIOError):  # nobody has called
            os.eventfd_read(self._called)
        if reply is None:
            return
        if isinstance(reply.answer, OutOfMemory) or reply.slot is None:
            raise EOFError  # whose request could not be read is not known, and the rest goes on
        if isinstance(reply.answer, TaskResult):
            self._answer(self._flying.pop(reply.slot), reply.answer)
        else:  # it could not begin: once more alone, which tells what is the matter
            self._worker.send_anew()
            self._set_apart([self._flying.pop(reply.slot)])

    def _is_overdue(self, child: ChildProcess) -> bool:
        """Say whether a row or a task takes longer than it may in company."""
        now = time.monotonic()
        for number, call in self._flying.items():
            position = child.slots[number].read()
            if position != call.position:
                call.position, call.changed = position, now
            limit_s = self._num_slots * row_timeout(call.spec, call.task, position.step)
            if now > call.deadline or (position.row >= 0 and now - call.changed > limit_s):
                return True
        return False

    def _part(self, child: ChildProcess) -> None:
        """End the child, and let each of those in hand run again alone."""
        if self._worker.is_stopped:
            raise WorkerStoppedError
        child.kill()
        self._worker.close()
        self._restarts += 1
        shards = ", ".join(call.task.name for call in self._flying.values())
        log.warning("a worker's process ended with %s in hand: each goes again alone", shards)
        self._set_apart(list(self._flying.values()))
        self._flying.clear()

    def _set_apart(self, calls: list[_Call]) -> None:
        for call in calls:
            call.is_alone = True
        self._waiting.extendleft(reversed(calls))
