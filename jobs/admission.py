"""Refusing, before anything starts, what the cluster can never give."""

from collections.abc import Mapping, Sequence
from typing import Any

from curation.errors import ResourceError
from curation.pipeline.runner import Pool

Room = dict[str, float]


def admit(
    pools: Sequence[Pool], nodes: Sequence[Mapping[str, Any]], more: Mapping[str, int]
) -> bool:
    """Check that the smallest sizes of all pools fit on the cluster at the same time.

    Args:
        pools: The pools.
        nodes: What `ray.nodes()` says.
        more: Node type -> how many more of it an autoscaler may start. A node type's resources are
            those of a living node of that type.

    Returns:
        Whether an autoscaler may add nodes.

    Raises:
        ResourceError: Says which pool does not fit, what it asks and what there is.
    """
    rooms = [_room(node["Resources"]) for node in nodes if node["Alive"]]
    grown = [room for name, count in more.items() for room in _nodes_of_type(nodes, name, count)]
    rooms.extend(grown)
    total = {kind: sum(room[kind] for room in rooms) for kind in ("CPU", "GPU")}
    asked = {
        "CPU": sum(pool.cpus * pool.min_workers for pool in pools),
        "GPU": sum(pool.gpus * pool.min_workers for pool in pools),
    }
    by_size = sorted(pools, key=lambda pool: (-pool.gpus, -pool.cpus, pool.name))
    for pool in by_size:
        for _ in range(pool.min_workers):
            room = next((r for r in rooms if _holds(r, pool)), None)
            if room is None:
                message = (
                    f"{pool.name}: {pool.min_workers} worker(s) with {pool.cpus:g} CPU and "
                    f"{pool.gpus:g} GPU each do not fit; all pools together ask for at least "
                    f"{asked['CPU']:g} CPU and {asked['GPU']:g} GPU, the cluster has "
                    f"{total['CPU']:g} CPU and {total['GPU']:g} GPU on {len(rooms)} node(s); lower "
                    "run.cpus, run.gpus or run.min_workers, or use a larger cluster"
                )
                raise ResourceError(message)
            room["CPU"] -= pool.cpus
            room["GPU"] -= pool.gpus
    return bool(grown)


def _room(resources: Mapping[str, float]) -> Room:
    return {"CPU": resources.get("CPU", 0.0), "GPU": resources.get("GPU", 0.0)}


def _holds(room: Room, pool: Pool) -> bool:
    return room["CPU"] >= pool.cpus and room["GPU"] >= pool.gpus


def _nodes_of_type(nodes: Sequence[Mapping[str, Any]], name: str, count: int) -> list[Room]:
    same = [n for n in nodes if n.get("Labels", {}).get("ray.io/node-type") == name]
    return [_room(same[0]["Resources"]) for _ in range(count)] if same else []
