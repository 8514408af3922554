"""What machines hold: how many workers of which pools fit on a node."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from curation.pipeline.config import RAYS_OWN, NodeLimit
from curation.pipeline.runner import Pool

_PARTS = 10_000
"""Ray counts cores and GPUs in ten-thousandths; integers make `0.1 + 0.2` fit into `0.3`."""

NODE_TYPE_LABEL = "ray.io/node-group"
"""The label in which Ray keeps the name of a node's type, as the cluster's file calls it."""


@dataclass(frozen=True)
class NodeSize:
    """Cores, GPUs and custom resources of a machine."""

    cpus: float = 0.0
    gpus: float = 0.0
    custom: Mapping[str, float] = field(default_factory=dict, hash=False)


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
        self._custom = {name: _parts(amount) for name, amount in size.custom.items()}
        for pool in by_size(occupants):
            self.take(pool)

    def fits(self, pool: Pool) -> bool:
        """Say whether one more worker of `pool` fits."""
        custom = pool.resources.items()
        return (
            self._cpus >= _parts(pool.cpus)
            and self._devices(pool) is not None
            and all(self._custom.get(name, 0) >= _parts(amount) for name, amount in custom)
        )

    def take(self, pool: Pool) -> None:
        """Give a worker what it holds; one that does not fit takes what there is."""
        self._cpus = max(self._cpus - _parts(pool.cpus), 0)
        for name, amount in pool.resources.items():
            self._custom[name] = max(self._custom.get(name, 0) - _parts(amount), 0)
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
    """Return pools with the largest workers first, which is how most of them fit.

    Of those with as many GPUs, first come those that ask for what only some nodes have.
    """
    return sorted(pools, key=lambda p: (-p.gpus, not p.resources, -p.cpus, p.name))


def held_by(pools: Sequence[Pool]) -> NodeSize:
    """Return what workers hold together, as if it were a machine."""
    custom: Counter[str] = Counter()
    for pool in pools:
        custom.update(pool.resources)
    return NodeSize(sum(p.cpus for p in pools), sum(p.gpus for p in pools), custom)


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
            size = NodeSize(limit.cpus, limit.gpus, limit.resources)
        elif same:
            size = _size(same[0])
        else:
            unknown.append(name)
            continue
        found.extend([size] * max(limit.count - len(same), 0))
    return found, unknown


def _size(node: Mapping[str, Any]) -> NodeSize:
    found = node["Resources"]
    custom = {n: a for n, a in found.items() if n not in RAYS_OWN and not n.startswith("node:")}
    return NodeSize(found.get("CPU", 0.0), found.get("GPU", 0.0), custom)


def _parts(amount: float) -> int:
    return round(amount * _PARTS)
