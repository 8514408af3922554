"""The processes that train together."""

import torch.distributed as dist


def is_distributed() -> bool:
    """Say whether other processes may train with this one."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Return the number of this process among those that train together."""
    return dist.get_rank() if is_distributed() else 0


def world_size() -> int:
    """Return how many processes train together, 1 without any others."""
    return dist.get_world_size() if is_distributed() else 1
