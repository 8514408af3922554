"""The Ray actor around a supervised child process."""

from typing import Any

import ray

from curation.pipeline.tasks import Task, TaskResult, WorkerSpec
from curation.pipeline.worker import ShardWorker


class Worker:
    """Runs tasks in its own child process; all it holds is that child.

    Args:
        memory_bytes: Memory of the child.
        limit_address_space: Enforce that as a limit of address space, which CUDA cannot bear.
    """

    def __init__(self, memory_bytes: int, limit_address_space: bool) -> None:
        self._worker = ShardWorker(memory_bytes, limit_address_space=limit_address_space)

    def ready(self) -> str:
        """Return the id of the node that the actor lives on."""
        return str(ray.get_runtime_context().get_node_id())

    def begin(self) -> None:
        """Answer when every call before this one has ended, so that the next one begins."""

    def run(self, spec: WorkerSpec, task: Task) -> TaskResult:
        """Do one task."""
        return self._worker.run(spec, task)


WorkerActor: Any = ray.remote(max_restarts=0, max_task_retries=0)(Worker)
"""The actor class: Ray restarts nothing, the submit loop decides."""
