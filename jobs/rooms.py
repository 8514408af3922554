"""What machines hold: how many workers of which pools fit on a node."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from curation.pipeline.config import NodeLimit
from curation.pipeline.runner import Pool

_PARTS = 10_000
"""Ray counts cores and GPUs in ten-thousandths; integers make `0.1 + 0.2` fit into `0.3`."""

NODE_TYPE_LABEL = "ray.io/node-group"
"""The label in which Ray keeps the name of a node's type, as the cluster's file calls it."""


@dataclass(frozen=True)
class NodeSize:
    """Cores and GPUs of a machine."""

    cpus: float = 0.0
    gpus: float = 0.0


class Room:
    """What is free on one node.

    A worker gets whole GPUs, or a part of one: parts of two do not add up, and cores of two nodes
    do not either.

    Args:
        size: The node.
        occupants: Pools of the workers that it holds already.
    """

    def __init__(self, size: NodeSize, occupants: Iterable[Pool] = ()) -> None:
        self._cpus = _parts(size.cpus)
        self._gpus = [_PARTS] * int(size.gpus)
        for pool in by_size(occupants):
            self.take(pool)

    def fits(self, pool: Pool) -> bool:
        """Say whether one more worker of `pool` fits."""
        return self._cpus >= _parts(pool.cpus) and self._devices(pool) is not None

    def take(self, pool: Pool) -> None:
        """Give a worker its cores and GPUs; one that does not fit takes what there is."""
        self._cpus = max(self._cpus - _parts(pool.cpus), 0)
        need = _parts(pool.gpus)
        for device in self._devices(pool) or ():
            given = min(need, self._gpus[device])
            self._gpus[device] -= given
            need -= given

    def _devices(self, pool: Pool) -> list[int] | None:
        """Return the GPUs that a worker would get, or null where there are too few."""
        need = _parts(pool.gpus)
        if need < _PARTS:
            fullest = sorted(range(len(self._gpus)), key=lambda device: self._gpus[device])
            found = [device for device in fullest if self._gpus[device] >= need][:1]
            return found if found or not need else None
        whole = [device for device, free in enumerate(self._gpus) if free == _PARTS]
        count = -(-need // _PARTS)
        return whole[:count] if len(whole) >= count else None


def by_size(pools: Iterable[Pool]) -> list[Pool]:
    """Return pools with the largest workers first, which is how most of them fit."""
    return sorted(pools, key=lambda pool: (-pool.gpus, -pool.cpus, pool.name))


def alive(nodes: Iterable[Mapping[str, Any]]) -> dict[str, NodeSize]:
    """Return node id -> size of the living ones of `ray.nodes()`."""
    return {node["NodeID"]: _size(node) for node in nodes if node["Alive"]}


def startable(
    nodes: Sequence[Mapping[str, Any]], limits: Mapping[str, NodeLimit]
) -> tuple[list[NodeSize], list[str]]:
    """Return the nodes that an autoscaler may still start, and the types of unknown size.

    A limit counts all nodes of a type, so those alive are taken off. Where it gives no size, a
    living node of the type tells it.
    """
    found: list[NodeSize] = []
    unknown = []
    for name, limit in limits.items():
        same = [n for n in nodes if n["Alive"] and n.get("Labels", {}).get(NODE_TYPE_LABEL) == name]
        if limit.cpus is not None:
            size = NodeSize(limit.cpus, limit.gpus)
        elif same:
            size = _size(same[0])
        else:
            unknown.append(name)
            continue
        found.extend([size] * max(limit.count - len(same), 0))
    return found, unknown


def _size(node: Mapping[str, Any]) -> NodeSize:
    return NodeSize(node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0))


def _parts(amount: float) -> int:
    return round(amount * _PARTS)
