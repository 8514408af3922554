"""What every runner promises, and the feed of tasks that a listing makes while it goes on."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from curation.pipeline.dispatch import Dispatch
from curation.pipeline.tasks import Task, WorkerSpec


@dataclass(frozen=True)
class Pool:
    """Workers of one kind.

    Attributes:
        name: `cpu`, or the instance that has the pool to itself.
        min_workers: How many must be had at once.
        max_workers: How many it may grow to; null for as many as the machines hold.
        cpus: Cores of one worker.
        gpus: GPUs of one worker.
        memory_bytes: Address space of a worker's child.
        shards_in_flight: Shards that a worker has in hand at once; its memory is for all of them.
        runtime_env: Ray's `runtime_env` of a worker; null for that of the job.
        resources: Custom resources of a worker: name -> amount.
    """

    name: str
    min_workers: int
    max_workers: int | None
    cpus: float
    gpus: float
    memory_bytes: int
    shards_in_flight: int = 1
    runtime_env: Mapping[str, Any] | None = field(default=None, hash=False)
    resources: Mapping[str, float] = field(default_factory=dict, hash=False)

    @property
    def needs(self) -> str:
        """What one worker holds, in words."""
        custom = "".join(f" and {n:g} {name}" for name, n in sorted(self.resources.items()))
        return f"{self.cpus:g} CPU and {self.gpus:g} GPU{custom}"


class Feed:
    """Tasks that come while a wave runs, made by a generator in a thread of its own.

    Args:
        tasks: Yields tasks; it may raise.
    """

    def __init__(self, tasks: Iterator[Task]) -> None:
        self._tasks = tasks
        self._queue: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self._known: frozenset[int] = frozenset()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._drain, name="listing", daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        try:
            for task in self._tasks:
                self._queue.put(task)
        except BaseException as error:  # noqa: BLE001 (raised again in the thread that polls)
            self._error = error

    def skip(self, shards: Iterable[int | None]) -> None:
        """Leave out the shards that a plan, made after the thread began, holds already."""
        self._known = frozenset(shard for shard in shards if shard is not None)

    def poll(self) -> list[Task]:
        """Return the tasks that have come since the last call; raise what the generator raised."""
        found = []
        while not self._queue.empty():
            task = self._queue.get()
            if task.shard not in self._known:
                found.append(task)
        if not found:
            self.raise_error()
        return found

    def raise_error(self) -> None:
        """Raise what ended the generator, if something did."""
        if self._error is not None and not self._thread.is_alive():
            raise self._error

    @property
    def is_empty(self) -> bool:
        """Whether no task waits to be polled."""
        return self._queue.empty()

    @property
    def is_done(self) -> bool:
        """Whether the generator has ended and every task was polled."""
        return not self._thread.is_alive() and self._queue.empty() and self._error is None

    def wait(self, timeout_s: float) -> None:
        """Wait until the generator ends, but no longer than `timeout_s`."""
        self._thread.join(timeout_s)


class Runner(Protocol):
    """Executes tasks; pools outlive a wave, so that a model loads once."""

    def check(self, pools: Sequence[Pool]) -> None:
        """Refuse, before anything starts, pools that can never be had (`ResourceError`)."""

    def run(
        self,
        spec: WorkerSpec,
        pools: Sequence[Pool],
        dispatch: Dispatch,
        feed: Feed | None,
        on_tick: Callable[[], None],
    ) -> None:
        """Work until `dispatch` is idle and `feed` is done.

        Args:
            spec: What the workers need to know.
            pools: The pools that tasks may name.
            dispatch: Gives tasks, takes answers.
            feed: More tasks that come meanwhile.
            on_tick: Called about once a second from the calling thread.
        """

    def close(self) -> None:
        """End every worker."""
