"""The processes that torchrun starts: who they are, how they meet, and which of them speaks.

    torchrun --nproc-per-node 8 -m curation.cli train recipe.yaml

A command that is not started by torchrun is the only process, and all of this does nothing.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from curation.errors import LongtailError, UsageError

_ENVIRONMENT = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
CPU_BACKEND = "gloo"
GPU_BACKEND = "cpu:gloo,cuda:nccl"
"""Tensors on the CPU need a way too: cursors, flags, and the states of checkpoints."""


@dataclass(frozen=True)
class Place:
    """A process among those that train together.

    Attributes:
        rank: Its number among all of them.
        world_size: How many there are.
        local_rank: Its number on this machine, and that of its GPU.
        is_launched: Whether torchrun started it.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    is_launched: bool = False

    @property
    def is_first(self) -> bool:
        """Whether this is the process that speaks."""
        return self.rank == 0

    def device(self) -> torch.device:
        """Return where this process computes: a GPU of its own, if the machine has any.

        Raises:
            UsageError: There are fewer GPUs than processes on this machine.
        """
        if not torch.cuda.is_available():
            return torch.device("cpu")
        if not self.is_launched:
            return torch.device("cuda")
        count = torch.cuda.device_count()
        if self.local_rank >= count:
            message = (
                f"process {self.local_rank} of this machine has no GPU, the machine has {count}; "
                f"start so many: torchrun --nproc-per-node {count}"
            )
            raise UsageError(message)
        return torch.device("cuda", self.local_rank)


def this_place() -> Place:
    """Return which process this is, as torchrun's environment says.

    Raises:
        UsageError: The environment is torchrun's in part only.
    """
    found = {name: os.environ.get(name) for name in _ENVIRONMENT}
    if found["RANK"] is None and found["WORLD_SIZE"] is None:
        return Place()
    if missing := [name for name, value in found.items() if value is None]:
        there = [name for name, value in found.items() if value is not None]
        message = (
            f"the environment has {', '.join(there)} but no {', '.join(missing)}; start with "
            "torchrun, or unset what is there"
        )
        raise UsageError(message)
    numbers = [os.environ[name] for name in _ENVIRONMENT[:3]]
    if not all(number.isdecimal() for number in numbers):
        message = f"RANK, WORLD_SIZE and LOCAL_RANK are {', '.join(numbers)}, not numbers"
        raise UsageError(message)
    rank, world_size, local_rank = map(int, numbers)
    return Place(rank, world_size, local_rank, is_launched=True)


class Ranks:
    """The processes of a launch, as one of them sees the others.

    Args:
        place: This one.
        store: What all of them read and write; null where this is the only one.
    """

    def __init__(self, place: Place, store: Store | None) -> None:
        self.place = place
        self._store = store

    @contextmanager
    def joined(self, device: torch.device, timeout_s: float) -> Iterator[None]:
        """Let collectives work, and give them up in the end.

        Args:
            device: Where this process computes.
            timeout_s: Time that a process waits for the others.
        """
        if self._store is None:
            yield
            return
        is_gpu = device.type == "cuda"
        if is_gpu:
            torch.cuda.set_device(device)
        dist.init_process_group(
            GPU_BACKEND if is_gpu else CPU_BACKEND,
            store=PrefixStore("group", self._store),
            rank=self.place.rank,
            world_size=self.place.world_size,
            timeout=timedelta(seconds=timeout_s),
            device_id=device if is_gpu else None,
        )
        yield
        # Not after an error: ending a group waits for ranks that may never come.
        dist.destroy_process_group()

    def is_first_to_fail(self) -> bool:
        """Say whether no other process has failed before; each process asks once."""
        return self._store is None or self._store.add("failed", 1) == 1


@contextmanager
def launched() -> Iterator[Ranks]:
    """Meet the other processes, where there are any, and let the first that fails speak.

    When one process fails, the others lose their connections to it, or are refused for the same
    reason: what they would say is a consequence. They end without a word.

    Raises:
        UsageError: The environment is torchrun's in part only.
    """
    place = this_place()
    if not place.is_launched:
        yield Ranks(place, None)
        return
    store, _, _ = next(rendezvous("env://"))
    ranks = Ranks(place, PrefixStore("longtail", store))
    try:
        yield ranks
    except Exception as error:
        if not ranks.is_first_to_fail():
            code = error.exit_code if isinstance(error, LongtailError) else 1
            raise SystemExit(code) from error
        raise
