"""A worker: it supervises one child process and turns its deaths into data.

Shared by `LocalRunner`, whose workers are threads, and the Ray runner, whose workers are actors.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

from curation.pipeline.messages import Answer, OutOfMemory, Request
from curation.pipeline.progress import OUTSIDE, PIXELS, Progress
from curation.pipeline.tasks import StepResult, Task, TaskResult, WorkerSpec
from schemas import dataset as paths
from schemas.error_codes import row_error

MAX_MARKS = 64
"""Rows of one shard over which a process may die before the shard as a whole is charged."""

MAX_UNCONFIRMED = 3
"""Time-outs and memory errors that did not happen again alone, before the shard is charged."""

_POLL_S = 0.1
_THREAD_LIMITS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


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
        memory_bytes: Address space that the child may have.
    """

    def __init__(self, memory_bytes: int) -> None:
        self.memory_bytes = memory_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._progress: Progress | None = None
        self._sent: str | None = None

    def run(self, spec: WorkerSpec, task: Task) -> TaskResult:
        """Do `task`, whatever happens to the child.

        A crash, time-out or memory error while a row is in hand costs that row of that step (of all
        steps with pixels during the shared decode); elsewhere it fails the step that was running.
        """
        marks: dict[tuple[int, int], str] = {}
        restarts = 0
        unconfirmed = 0
        while True:
            outcome = self._attempt(spec, task, marks)
            if isinstance(outcome, TaskResult):
                return replace(outcome, restarts=restarts)
            restarts += 1
            if outcome.row == OUTSIDE or len(marks) >= MAX_MARKS:
                return self._charged(spec, task, outcome, restarts)
            if outcome.kind != "crashed" and not self._confirm(spec, task, marks, outcome):
                unconfirmed += 1
                if unconfirmed > MAX_UNCONFIRMED:
                    return self._charged(spec, task, outcome, restarts)
                continue
            marks[outcome.step, outcome.row] = self._row_error(spec, task, outcome)

    def close(self) -> None:
        """End the child."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            try:
                self._process.wait(timeout=2)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._progress is not None:
            self._progress.close()
        self._process = self._connection = self._progress = None
        self._sent = None

    def kill(self) -> None:
        """End the child at once, whatever it is doing; safe to call from another thread."""
        process = self._process
        if process is not None:
            process.kill()

    # The child ---------------------------------------------------------------------------------

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        progress = Progress.create()
        environment = {
            **os.environ,
            **dict.fromkeys(_THREAD_LIMITS, "1"),
            "PYTHONPATH": os.pathsep.join(p or str(Path.cwd()) for p in sys.path),
            # mimalloc and jemalloc reserve address space by the gigabyte, which the limit forbids.
            "ARROW_DEFAULT_MEMORY_POOL": "system",
        }
        command = [sys.executable, "-m", "curation.pipeline.child"]
        arguments = [str(theirs.fileno()), str(progress.descriptor), str(self.memory_bytes)]
        self._process = subprocess.Popen(
            [*command, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(), progress.descriptor),
        )
        theirs.close()
        self._connection = Connection(ours.detach())
        self._progress = progress
        self._sent = None

    def _attempt(
        self,
        spec: WorkerSpec,
        task: Task,
        marks: Mapping[tuple[int, int], str],
        only_row: int | None = None,
    ) -> TaskResult | _Trouble:
        """Send one request and wait for the answer, or for the child's end."""
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._start()
        assert self._connection is not None
        assert self._progress is not None
        self._progress.at(0)
        new = spec if self._sent != spec.key else None
        try:
            self._connection.send(Request(new, task, dict(marks), only_row))
        except (BrokenPipeError, ConnectionResetError):
            return self._buried()
        self._sent = spec.key
        return self._wait(spec, task)

    def _wait(self, spec: WorkerSpec, task: Task) -> TaskResult | _Trouble:
        assert self._connection is not None
        assert self._progress is not None
        began = changed = time.monotonic()
        seen = self._progress.read()
        while True:
            try:
                if self._connection.poll(_POLL_S):
                    answer: Answer = self._connection.recv()
                    break
            except (EOFError, ConnectionResetError):
                return self._buried()
            now = time.monotonic()
            position = self._progress.read()
            if position != seen:
                seen, changed = position, now
            limit = _row_timeout(spec, task, position.step)
            if position.row != OUTSIDE and now - changed > limit:
                self._end()
                return _Trouble("timeout", position.step, position.row, f"no answer for {limit} s")
            if now - began > spec.task_timeout_s:
                self._end()
                text = f"no answer for {spec.task_timeout_s:g} s"
                return _Trouble("timeout", position.step, OUTSIDE, text)
        if isinstance(answer, OutOfMemory):
            position = self._progress.read()
            self._end()
            text = f"more than {self.memory_bytes >> 20} MB were needed"
            return _Trouble("memory", position.step, position.row, text)
        return answer

    def _buried(self) -> _Trouble:
        """Say how the child ended."""
        assert self._process is not None
        assert self._progress is not None
        code = self._process.wait()
        position = self._progress.read()
        self.close()
        text = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return _Trouble("crashed", position.step, position.row, text)

    def _end(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self.close()

    # What it means -----------------------------------------------------------------------------

    def _confirm(
        self,
        spec: WorkerSpec,
        task: Task,
        marks: Mapping[tuple[int, int], str],
        trouble: _Trouble,
    ) -> bool:
        """Run the row alone in a new child; say whether it fails there too."""
        outcome = self._attempt(spec, task, marks, only_row=trouble.row)
        self.close()
        return isinstance(outcome, _Trouble) and outcome.row == trouble.row

    def _row_error(self, spec: WorkerSpec, task: Task, trouble: _Trouble) -> str:
        if trouble.kind == "crashed":
            return row_error("crashed", signal=trouble.text)
        if trouble.kind == "memory":
            return row_error("memory", limit_mb=self.memory_bytes >> 20)
        return row_error("timeout", seconds=f"{_row_timeout(spec, task, trouble.step):g}")

    def _charged(
        self, spec: WorkerSpec, task: Task, trouble: _Trouble, restarts: int
    ) -> TaskResult:
        """Charge the step that was running; what it did not reach is skipped, not charged.

        Files tell which steps were finished before: nothing else does, the child is dead.
        """
        running = max(trouble.step, 0)
        if trouble.step == PIXELS:
            running = next(i for i, s in enumerate(task.steps) if s != paths.IMAGES)
        if running >= len(task.steps):
            running = len(task.steps) - 1
        steps = {name: StepResult("skipped") for name in task.steps}
        steps[task.steps[running]] = StepResult("failed", code=trouble.kind, text=trouble.text)
        return TaskResult(steps, restarts=restarts)


def _row_timeout(spec: WorkerSpec, task: Task, step: int) -> float:
    if step == PIXELS or not 0 <= step < len(task.steps) or task.steps[step] == paths.IMAGES:
        return spec.row_timeout_s
    return spec.instance(task.steps[step]).run.row_timeout_s
