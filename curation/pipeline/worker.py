"""A worker: it supervises one child process and turns its deaths into data.

Shared by `LocalRunner`, whose workers are threads, and the Ray runner, whose workers are actors.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from curation.pipeline.child_process import ChildProcess
from curation.pipeline.hindrance import AGAIN
from curation.pipeline.messages import OutOfMemory, Ready, Request, Unable
from curation.pipeline.progress import BEGINNING, OUTSIDE, PIXELS
from curation.pipeline.tasks import StepResult, Task, TaskResult, WorkerSpec
from schemas import dataset as paths
from schemas.error_codes import row_error

MAX_MARKS = 64
"""Rows of one shard over which a process may die before the shard as a whole is charged."""

MAX_UNCONFIRMED = 3
"""Troubles with a row that did not happen again alone, before the shard is charged."""

START_TIMEOUT_S = 120.0
"""Time that the first child of a call may take to start, besides the time of the task."""

POLL_S = 0.1
"""How often a supervisor looks at what its child has in hand."""


class WorkerStoppedError(Exception):
    """The worker was killed from within: its task has no result, and is no fault of anybody."""


@dataclass(frozen=True)
class _Trouble:
    """A child that did not answer, and what it was doing."""

    kind: Literal["crashed", "timeout", "memory"]
    step: int
    row: int
    text: str


class ShardWorker:
    """Runs tasks in a supervised child process, one at a time.

    Args:
        memory_bytes: Memory that the child may have.
        limit_address_space: Enforce that as a limit of address space. Not for workers with a GPU:
            CUDA reserves hundreds of gigabytes of addresses that it never touches.
        num_slots: Tasks that the child may have in hand at once. `run` fills one of them; see
            `curation.pipeline.flight` for who fills more.
    """

    def __init__(
        self, memory_bytes: int, *, limit_address_space: bool = True, num_slots: int = 1
    ) -> None:
        self.memory_bytes = memory_bytes
        self._num_slots = num_slots
        self._limit_bytes = memory_bytes if limit_address_space else 0
        self._child: ChildProcess | None = None
        self._sent: str | None = None
        self._deadline = 0.0
        self._restarts = 0
        self._packets: Mapping[str, int] = {}
        self._stopped = False
        self._lock = threading.Lock()

    def run(
        self, spec: WorkerSpec, task: Task, packets: Mapping[str, int] | None = None
    ) -> TaskResult:
        """Do `task`, whatever happens to the child.

        A crash, time-out or memory error while a row is in hand is tried again with that row alone
        in a new child, since a person, the kernel's out-of-memory killer or a busy machine may have
        caused it. If the row fails alone too, it costs that row of that step (of all steps with
        pixels during the shared decode). Trouble outside the row loop, or too much of it, fails the
        step that was running. Trouble before any step began is a hindrance. So is a fit or a
        relation that needs more memory: another try would not give it more.

        All this together takes `spec.task_timeout_s` at most, and a moment to end the child. Only
        a child that has to be started for the task has `START_TIMEOUT_S` of its own: a worker's
        first task is not worse off than its second.

        Args:
            spec: How to do it.
            task: What to do.
            packets: Instance -> descriptor of a packet that holds its views.

        Raises:
            WorkerStoppedError: `kill` was called.
        """
        self._packets = packets or {}
        self._deadline = time.monotonic() + spec.task_timeout_s
        self._restarts = 0
        marks: dict[tuple[int, int], str] = {}
        unconfirmed = 0
        last: _Trouble | None = None
        while True:
            is_new = self._child is None
            outcome = self._attempt(spec, task, marks)
            if isinstance(outcome, TaskResult):
                return replace(outcome, restarts=self._restarts)
            if outcome.row == BEGINNING:
                if not is_new and outcome.step == len(task.steps) and outcome.kind == "crashed":
                    continue  # it was killed while it had nothing to do
                return self._not_begun(spec, task, outcome, last)
            if outcome.kind == "memory" and task.kind != "shard":
                return self._hindered(task, self._too_large(task))
            last = outcome
            if outcome.row == OUTSIDE or len(marks) >= MAX_MARKS:
                return self._charged(task, outcome)
            alone = self._attempt(spec, task, marks, only_row=outcome.row)
            if isinstance(alone, _Trouble) and alone.row == outcome.row:
                marks[alone.step, alone.row] = self._row_error(spec, task, alone)
            elif isinstance(alone, TaskResult) and alone.hindrance:
                return replace(alone, restarts=self._restarts)
            elif isinstance(alone, _Trouble) and alone.row == BEGINNING:
                return self._not_begun(spec, task, alone, last)
            else:
                unconfirmed += 1
                if unconfirmed > MAX_UNCONFIRMED or time.monotonic() > self._deadline:
                    return self._charged(task, outcome)

    def close(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        self._sent = None
        if child is not None:
            child.close()

    def kill(self) -> None:
        """End the child at once, and `run` with it, for good; safe to call from another thread."""
        with self._lock:
            self._stopped = True
            child = self._child
            if child is not None:
                child.kill()

    @property
    def is_stopped(self) -> bool:
        """Whether `kill` was called."""
        return self._stopped

    # The child ---------------------------------------------------------------------------------

    def start(self, spec: WorkerSpec, task: Task) -> ChildProcess | None:
        """Return a child that can be asked; null where `run` would say what prevents it."""
        self._restarts = 0
        try:
            if self._ready(spec, task) is None:
                return self._child
        except (EOFError, OSError):
            self.close()
        if self._stopped:
            raise WorkerStoppedError
        return None

    def send(self, spec: WorkerSpec, request: Request) -> None:
        """Ask the child for something; `spec` goes with it where the child does not know it."""
        assert self._child is not None
        new = spec if self._sent != spec.key else None
        self._child.send(replace(request, spec=new))
        self._sent = spec.key

    def send_anew(self) -> None:
        """Send the specification with the next request, whatever the child knows."""
        self._sent = None

    def _attempt(
        self,
        spec: WorkerSpec,
        task: Task,
        marks: Mapping[tuple[int, int], str],
        only_row: int | None = None,
    ) -> TaskResult | _Trouble:
        """Send one request and wait for the answer, or for the child's end."""
        try:
            outcome = self._ready(spec, task)
            if outcome is None:
                outcome = self._ask(spec, task, marks, only_row)
        except (EOFError, OSError) as error:
            if self._child is None:  # it could not even be started
                message = f"starting a worker failed: {error}; free processes or memory, {AGAIN}"
                outcome = self._hindered(task, message)
            else:
                outcome = self._end("crashed")
        if self._stopped:
            raise WorkerStoppedError
        return outcome

    def _ready(self, spec: WorkerSpec, task: Task) -> TaskResult | _Trouble | None:
        """See to it that there is a child which can be asked; return what prevents it."""
        if self._child is not None and not self._child.is_alive:
            self.close()
        if self._child is not None:
            self._child.progress.at(len(task.steps), BEGINNING)
            return None
        with self._lock:
            if self._stopped:
                raise WorkerStoppedError
            self._child = ChildProcess(self._limit_bytes, self._num_slots)
        self._child.progress.at(len(task.steps), BEGINNING)
        is_first = self._restarts == 0
        if is_first:
            self._deadline = time.monotonic() + START_TIMEOUT_S
        outcome = self._wait(spec, task)
        if isinstance(outcome, Ready):
            if is_first:
                self._deadline = time.monotonic() + spec.task_timeout_s
            return None
        self.close()
        return outcome

    def _ask(
        self,
        spec: WorkerSpec,
        task: Task,
        marks: Mapping[tuple[int, int], str],
        only_row: int | None,
    ) -> TaskResult | _Trouble:
        self.send(spec, Request(None, task, dict(marks), only_row, 0, self._packets))
        outcome = self._wait(spec, task)
        assert not isinstance(outcome, Ready)
        return outcome

    def _wait(self, spec: WorkerSpec, task: Task) -> Ready | TaskResult | _Trouble:
        """Wait for the child's next word, as long as the row in hand and the task may take."""
        assert self._child is not None
        seen = self._child.progress.read()
        changed = time.monotonic()
        while (reply := self._child.receive(POLL_S)) is None:
            now = time.monotonic()
            position = self._child.progress.read()
            if position != seen:
                seen, changed = position, now
            limit_s = row_timeout(spec, task, position.step)
            if position.row >= 0 and now - changed > limit_s:
                return self._end("timeout", text=f"no answer for {limit_s:g} s")
            if now > self._deadline:
                text = f"no answer for {spec.task_timeout_s:g} s"
                return self._end("timeout", blame_row=False, text=text)
        answer = reply.answer
        if isinstance(answer, OutOfMemory):
            return self._end("memory", text=f"more than {self.memory_bytes >> 20} MB were needed")
        if isinstance(answer, Unable):
            self.send_anew()
            return self._hindered(task, answer.text)
        return answer

    def _end(
        self,
        kind: Literal["crashed", "timeout", "memory"],
        *,
        blame_row: bool = True,
        text: str = "",
    ) -> _Trouble:
        """End the child if it has not ended; say what it had in hand."""
        assert self._child is not None
        position = self._child.progress.read()
        if kind != "crashed":
            self._child.kill()
        how = self._child.close()
        self._child = None
        self._sent = None
        self._restarts += 1
        row = position.row if blame_row or position.row == BEGINNING else OUTSIDE
        return _Trouble(kind, position.step, row, text or how)

    # What it means -----------------------------------------------------------------------------

    def _row_error(self, spec: WorkerSpec, task: Task, trouble: _Trouble) -> str:
        if trouble.kind == "crashed":
            return row_error("crashed", signal=trouble.text)
        if trouble.kind == "memory":
            return row_error("memory", limit_mb=self.memory_bytes >> 20)
        return row_error("timeout", seconds=f"{row_timeout(spec, task, trouble.step):g}")

    def _charged(self, task: Task, trouble: _Trouble) -> TaskResult:
        """Charge the step that was running; all others are skipped, not charged.

        Steps that were finished before go again and give the same files: only the child knew of
        them, and it is dead.
        """
        if not task.steps:  # only packs, which nobody is charged for
            return TaskResult({}, restarts=self._restarts)
        running = max(trouble.step, 0)
        if trouble.step == PIXELS:
            running = next(i for i, s in enumerate(task.steps) if s != paths.IMAGES)
        if running >= len(task.steps):
            running = len(task.steps) - 1
        steps = {name: StepResult("skipped") for name in task.steps}
        steps[task.steps[running]] = StepResult("failed", code=trouble.kind, text=trouble.text)
        return TaskResult(steps, restarts=self._restarts)

    def _hindered(self, task: Task, text: str) -> TaskResult:
        steps = {name: StepResult("skipped") for name in task.steps}
        return TaskResult(steps, restarts=self._restarts, hindrance=text)

    def _too_large(self, task: Task) -> str:
        """Word that a fit or a relation, which sees many shards at once, needs more memory."""
        limit_mb = self.memory_bytes >> 20
        return (
            f"{task.steps[0]}, {task.name}: needs more than {limit_mb} MB, for all its rows "
            f"together: raise run.memory_bytes ({limit_mb} MB), {AGAIN}"
        )

    def _not_begun(
        self, spec: WorkerSpec, task: Task, trouble: _Trouble, last: _Trouble | None
    ) -> TaskResult:
        """Say why no step began; where earlier trouble ate up the time, charge that instead."""
        if trouble.kind == "timeout" and last is not None:
            return self._charged(task, replace(last, kind="timeout", text=trouble.text))
        in_setup = trouble.step < len(task.steps)
        where = f"setting up {task.steps[trouble.step]}" if in_setup else "starting a worker"
        limit = f"run.memory_bytes ({self.memory_bytes >> 20} MB)"
        limit_s = (
            f"run.task_timeout_s ({spec.task_timeout_s:g} s)"
            if in_setup
            else f"{START_TIMEOUT_S:g} s"
        )
        text = {
            "crashed": f"{where} ended its process ({trouble.text}); its last words are in the "
            f"log: check the installation and {limit}",
            "memory": f"{where} needs more than {self.memory_bytes >> 20} MB: raise {limit}",
            "timeout": f"{where} took longer than {limit_s}: see what it waits for",
        }
        return self._hindered(task, f"{text[trouble.kind]}, {AGAIN}")


def row_timeout(spec: WorkerSpec, task: Task, step: int) -> float:
    """Return the seconds that a row of the task's step with this index may take."""
    if not 0 <= step < len(task.steps) or task.steps[step] == paths.IMAGES:
        return spec.row_timeout_s
    return spec.instance(task.steps[step]).run.row_timeout_s
