"""The Ray actor around a supervised child process."""

from typing import Any

import ray

from curation.pipeline.flight import make_worker
from curation.pipeline.tasks import Task, TaskResult, WorkerSpec


class Worker:
    """Runs tasks in its own child process; all it holds is that child.

    Args:
        memory_bytes: Memory of the child.
        limit_address_space: Enforce that as a limit of address space, which CUDA cannot bear.
        shards_in_flight: Calls of `run` that the actor may have in hand at once.
    """

    def __init__(
        self, memory_bytes: int, limit_address_space: bool, shards_in_flight: int = 1
    ) -> None:
        self._worker = make_worker(
            memory_bytes,
            limit_address_space=limit_address_space,
            shards_in_flight=shards_in_flight,
        )

    def ready(self) -> str:
        """Return the id of the node that the actor lives on."""
        return str(ray.get_runtime_context().get_node_id())

    def begin(self) -> None:
        """Answer when there is a thread for the next call: where there is one, after the last."""

    def run(self, spec: WorkerSpec, task: Task) -> TaskResult:
        """Do one task."""
        return self._worker.run(spec, task)


WorkerActor: Any = ray.remote(max_restarts=0, max_task_retries=0)(Worker)
"""The actor class: Ray restarts nothing, the submit loop decides."""
