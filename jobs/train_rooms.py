"""Whether a cluster can hold the processes of a training run."""

from collections.abc import Mapping, Sequence
from typing import Any

from curation.errors import ResourceError
from curation.pipeline.config import NodeLimit
from curation.pipeline.runner import Pool
from jobs.rooms import Room, alive, startable
from training.workers import WorkersConfig

Nodes = Sequence[Mapping[str, Any]]
"""What `ray.nodes()` says."""


def admit_training(config: WorkersConfig, nodes: Nodes) -> bool:
    """Refuse a cluster that can never hold the processes.

    Returns:
        Whether an autoscaler may add nodes.

    Raises:
        ResourceError: Says what they ask and what there is.
    """
    more, unknown = startable(nodes, config.max_nodes)
    fits = most_workers(config, nodes)
    if fits >= config.count:
        return bool(more)
    sizes = [*alive(nodes).values(), *more]
    message = (
        f"{config.count} worker(s) with {needs(config)} each do not fit: the cluster has room for "
        f"{fits}, with {sum(s.cpus for s in sizes):g} CPU and {sum(s.gpus for s in sizes):g} GPU "
        f"on {len(sizes)} node(s); lower workers.count or workers.cpus, or use a larger cluster"
    )
    for name, amount in config.resources.items():
        if not any(size.custom.get(name, 0) >= amount for size in sizes):
            message += f"; no node has {amount:g} {name}: see workers.resources"
    if config.gpus and not any(size.gpus for size in sizes):
        message += "; without GPUs, compute on cores: --set workers.gpus=0"
    if unknown:
        message += (
            f"; workers.max_nodes.{unknown[0]} was left out, because no node of that type is "
            "alive: give its size, as {count: 8, cpus: 64, gpus: 8}"
        )
    raise ResourceError(message)


def most_workers(
    config: WorkersConfig, nodes: Nodes, limits: Mapping[str, NodeLimit] | None = None
) -> int:
    """Return how many processes machines hold, up to those that are wanted.

    Args:
        config: What each of them holds.
        nodes: The machines.
        limits: Node type -> how many of it an autoscaler may have; null for the configuration's.
    """
    pool = _pool(config)
    more, _ = startable(nodes, config.max_nodes if limits is None else limits)
    count = 0
    for size in [*alive(nodes).values(), *more]:
        room = Room(size)
        while count < config.count and room.fits(pool):
            room.take(pool)
            count += 1
    return count


def needs(config: WorkersConfig) -> str:
    """Return what one process holds, in words."""
    return _pool(config).needs


def _pool(config: WorkersConfig) -> Pool:
    return Pool(
        "train",
        config.count,
        config.count,
        config.cpus,
        config.gpus,
        memory_bytes=0,
        resources=config.resources,
    )
