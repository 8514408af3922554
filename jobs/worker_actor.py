"""The Ray actor around a supervised child process."""

import logging
import os
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import RayError

from curation.pipeline.flight import make_worker
from curation.pipeline.packet import packet_array, packet_file
from curation.pipeline.tasks import Task, WorkerSpec

_FETCH_S = 20.0
"""Time that a packet may take from one node to another. Of a node that was lost, Ray says so only
after half a minute; decoding takes less."""

log = logging.getLogger("longtail.worker")


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

    def run(self, spec: WorkerSpec, task: Task, views: Any = None) -> Any:
        """Do one task.

        Args:
            spec: How.
            task: What.
            views: The reference to a packet with the views of the task's only step, in a list, so
                that Ray leaves it to us: where the packet was lost, the worker makes its own.

        Returns:
            The result; if the task packs views, with the packets behind it, null for what failed.
        """
        packet = fetch(views[0]) if views else None
        packets = {} if packet is None else {task.steps[0]: packet}
        try:
            result = self._worker.run(spec, task, packets)
        finally:
            for descriptor in packets.values():
                os.close(descriptor)
        if packets:
            result = replace(result, is_fed=True)
        if not task.packs:
            return result
        made: list[Any] = [None] * len(task.packs)
        for name, descriptor in result.packets.items():
            made[task.packs.index(name)] = packet_array(descriptor)
            os.close(descriptor)
        return replace(result, packets={}, packed=tuple(result.packets)), *made


def fetch(reference: Any) -> int | None:
    """Return the descriptor of a packet in the object store, or null where it cannot be had."""
    try:
        return packet_file(ray.get(reference, timeout=_FETCH_S))
    except (RayError, OSError) as error:  # its node was lost, the network is slow, memory is full
        why = str(error).partition("\n")[0]
        log.warning("a packet is not to be had, the images are decoded here: %s", why)
        return None


WorkerActor: Any = ray.remote(max_restarts=0, max_task_retries=0)(Worker)
"""The actor class: Ray restarts nothing, the submit loop decides."""
