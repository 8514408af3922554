"""What Ray says of its nodes, asked at most once a second."""

import time
from collections.abc import Mapping

import ray

from curation.pipeline.config import NodeLimit
from jobs.rooms import NodeSize, alive, startable

_FRESH_S = 1.0


class Cluster:
    """The nodes that live, what is free on them, and what an autoscaler may add.

    Args:
        limits: Node type -> how many of it an autoscaler may have.

    Attributes:
        nodes: Id -> size of the living nodes.
        free: What nobody uses, on all of them together.
        startable: Nodes that may still be added.
        store_bytes: Id -> size of the object store of the living nodes.
    """

    def __init__(self, limits: Mapping[str, NodeLimit]) -> None:
        self._limits = limits
        self._looked = float("-inf")
        self.nodes: dict[str, NodeSize] = {}
        self.free = NodeSize()
        self.startable: list[NodeSize] = []
        self.store_bytes: dict[str, int] = {}

    def look(self, *, anew: bool = False) -> None:
        """Ask Ray, unless it was asked a moment ago and is not to be asked anew."""
        if not anew and time.monotonic() - self._looked < _FRESH_S:
            return
        found = ray.nodes()
        free = ray.available_resources()
        self.nodes = alive(found)
        self.free = NodeSize(free.get("CPU", 0.0), free.get("GPU", 0.0))
        self.startable, _ = startable(found, self._limits)
        self.store_bytes = {
            node["NodeID"]: int(node["Resources"].get("object_store_memory", 0))
            for node in found
            if node["Alive"]
        }
        self._looked = time.monotonic()
