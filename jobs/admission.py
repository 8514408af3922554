"""Refusing, before anything starts, what the cluster can never give."""

from collections.abc import Mapping, Sequence
from typing import Any

from curation.errors import ResourceError
from curation.pipeline.config import NodeLimit
from curation.pipeline.runner import Pool
from jobs.rooms import Room, alive, by_size, startable


def admit(
    pools: Sequence[Pool], nodes: Sequence[Mapping[str, Any]], limits: Mapping[str, NodeLimit]
) -> bool:
    """Check that the smallest sizes of all pools fit on the cluster at the same time.

    Args:
        pools: The pools.
        nodes: What `ray.nodes()` says.
        limits: Node type -> how many of it an autoscaler may have, those alive among them.

    Returns:
        Whether an autoscaler may add nodes.

    Raises:
        ResourceError: Says which pool does not fit, what it asks and what there is.
    """
    for pool in pools:
        if pool.gpus > 1 and pool.gpus != int(pool.gpus):
            message = (
                f"{pool.name}: run.gpus is {pool.gpus:g}; a worker has a part of one GPU, or whole "
                "ones"
            )
            raise ResourceError(message)
    more, unknown = startable(nodes, limits)
    sizes = [*alive(nodes).values(), *more]
    rooms = [Room(size) for size in sizes]
    for pool in by_size(pools):
        for _ in range(pool.min_workers):
            room = next((r for r in rooms if r.fits(pool)), None)
            if room is None:
                asked_cpus = sum(p.cpus * p.min_workers for p in pools)
                asked_gpus = sum(p.gpus * p.min_workers for p in pools)
                message = (
                    f"{pool.name}: {pool.min_workers} worker(s) with {pool.needs} each do not "
                    "fit; all pools together ask for at least "
                    f"{asked_cpus:g} CPU and {asked_gpus:g} GPU, the cluster has "
                    f"{sum(s.cpus for s in sizes):g} CPU and {sum(s.gpus for s in sizes):g} GPU on "
                    f"{len(sizes)} node(s); lower run.cpus, run.gpus or run.replicas, or use a "
                    "larger cluster"
                )
                for name, amount in pool.resources.items():
                    if not any(size.custom.get(name, 0) >= amount for size in sizes):
                        message += f"; no node has {amount:g} {name}: see run.resources"
                if pool.gpus and not any(size.gpus for size in sizes):
                    message += "; without GPUs, compute on the CPU: --set run.device=cpu"
                if unknown:
                    message += (
                        f"; run.max_nodes.{unknown[0]} was left out, because no node of that type "
                        "is alive: give its size, as {count: 8, cpus: 64, gpus: 8}"
                    )
                raise ResourceError(message)
            room.take(pool)
    return bool(more)
