"""What the processes that train together must agree on, over a channel of their own."""

import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from curation.errors import UsageError
from curation.storage import Store
from training.ranks import is_distributed, rank, world_size


class Agreement:
    """Lets ranks compare notes on the CPU; with one rank alone everything is agreed at once.

    The channel is a group of its own, so that what it says never stands between the collectives
    of the model or of a checkpoint that is being written.

    Args:
        timeout_s: Time that a rank waits for the others.
    """

    def __init__(self, timeout_s: float = 1800.0) -> None:
        self._group = None
        if is_distributed() and world_size() > 1:
            self._group = dist.new_group(backend="gloo", timeout=timedelta(seconds=timeout_s))

    def any(self, flag: bool) -> bool:
        """Say whether any rank says yes; all ranks get the same answer."""
        if self._group is None:
            return flag
        said = torch.tensor([int(flag)], dtype=torch.int32)
        dist.all_reduce(said, dist.ReduceOp.MAX, group=self._group)
        return bool(said)

    def check_same(self, facts: Mapping[str, str]) -> None:
        """Refuse ranks that would train different things.

        Args:
            facts: What must be the same -> this rank's.

        Raises:
            UsageError: On every rank, where one of them differs.
        """
        everyone = self._gather(dict(facts))
        for name, value in everyone[0].items():
            for number, theirs in enumerate(everyone):
                if theirs.get(name) != value:
                    message = (
                        f"the processes would not train the same: process {number} has another "
                        f"{name} than process 0 ({theirs.get(name)}, {value}); give all of them "
                        "the same recipe, dataset and weights"
                    )
                    raise UsageError(message)

    def check_shared(self, store: Store) -> None:
        """Refuse an output that is not the same place for all ranks, as each writes its part.

        Raises:
            UsageError: On every rank, where one of them does not see what rank 0 puts there.
        """
        if self._group is None:
            return
        name = self._gather(f".tmp-{uuid.uuid4().hex}")[0]
        if rank() == 0:
            store.put(name, b"")
        self.any(False)
        seen = self._gather(store.exists(name))
        if rank() == 0:
            store.delete(name)
        if not all(seen):
            message = (
                f"{store.url}: process {seen.index(False)} does not find there what process 0 "
                "wrote; name an output that all nodes share, as a URL or on a shared file system"
            )
            raise UsageError(message)

    def _gather(self, value: Any) -> list[Any]:
        """Return every rank's value."""
        if self._group is None:
            return [value]
        found: list[Any] = [None] * world_size()
        dist.all_gather_object(found, value, group=self._group)
        return found
