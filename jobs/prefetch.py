"""Which views the CPU pool makes ahead for the GPU pools, and who gets them.

A packet holds the views of one shard as one object in Ray's store; see `curation.pipeline.packet`.
It is made beside the CPU stages that are due for the shard, so that an image is decoded once for
all, or by itself where only GPU stages are due. Its reference goes from the worker that made it to
the one that sees it; the driver holds the reference, never the pixels.

All this is only a head start. A packet is not waited for beyond the call that makes it, charges
nobody, and where there is none, because it was lost, does not fit, or its shard is tried again, the
GPU's worker decodes by itself and gets the same bytes: a view is a pure function of the file and
the `PixelSpec`.

Plain state: no Ray, no clock. The submit loop asks and tells.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from curation.pipeline.dispatch import Dispatch
from curation.pipeline.packet import is_worth_packing, packet_bytes
from curation.pipeline.runner import Pool
from curation.pipeline.tasks import CPU_POOL, Task, WorkerSpec
from curation.pixels import PixelSpec

MAX_AHEAD = 16
"""Shards whose views are made, or being made, for each worker that will see them: as many cores may
decode for one GPU at the same time."""

STORE_SHARE = 0.5
"""Of a node's object store, what packets that were made there may take; copies for workers of
other nodes are in the rest of theirs."""


@dataclass(eq=False)
class Packet:
    """The views of a shard that a task will see, made or being made.

    Attributes:
        pool: The task's pool.
        num_bytes: How large it can be.
        node: Where it is made.
        reference: Where it is; null while it is made.
        is_taken: Whether the task is in the hands of a worker.
    """

    pool: str
    num_bytes: int
    node: str
    reference: Any = None
    is_taken: bool = False


class Prefetch:
    """Packets between the CPU pool and the GPU pools.

    Args:
        spec: The pipeline.
        pools: Its pools.
        store_bytes: Says node -> size of its object store, now.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        pools: Sequence[Pool],
        store_bytes: Callable[[], Mapping[str, int]],
    ) -> None:
        self._store_bytes = store_bytes
        self._views: dict[str, PixelSpec] = {}
        self._in_flight = {pool.name: pool.shards_in_flight for pool in pools}
        for pool in pools:
            view = spec.instance(pool.name).make().pixels() if pool.gpus else None
            if view is not None and is_worth_packing(view):
                self._views[pool.name] = view
        self._packets: dict[str, Packet] = {}
        self._over: set[str] = set()  # keys of tasks that had their packet, or their chance
        self._num_workers: Counter[str] = Counter()
        self._num_idle: Counter[str] = Counter()

    def feeds(self, pool: str) -> bool:
        """Say whether views are made for a pool."""
        return pool in self._views

    def look(self, num_workers: Mapping[str, int], dispatch: Dispatch) -> None:
        """Take in how many workers each pool has; forget what is lost, or wanted no more."""
        self._num_workers = Counter(num_workers)
        self._num_idle.clear()
        nodes = self._store_bytes()
        for key, packet in list(self._packets.items()):
            is_there = packet.reference is not None and not packet.is_taken
            if not dispatch.is_open(key) or (is_there and packet.node not in nodes):
                del self._packets[key]

    # Making ------------------------------------------------------------------------------------

    def packing(self, task: Task, node: str, dispatch: Dispatch) -> Task:
        """Return a task of a CPU worker with what it shall pack of its shard besides."""
        if task.kind != "shard" or task.is_alone:
            return task
        return replace(task, packs=self._begin(task, task.key, node, dispatch))

    def make(self, node: str, dispatch: Dispatch, *, urgent: bool) -> Task | None:
        """Return a task that does nothing but pack, for a CPU worker; null where there is no need.

        Args:
            node: Where the worker lives.
            dispatch: What is to be done.
            urgent: Only where fewer packets are on their way than workers could see at once.
        """
        for pool in self._views:
            each = self._in_flight[pool] if urgent else MAX_AHEAD
            for task in self._unfed(pool, dispatch, each)[:1]:
                key = f"pixels/{task.name}/{pool}"
                blank = Task("shard", task.name, (), task.shard, num_rows=task.num_rows, key=key)
                packs = self._begin(blank, key, node, dispatch)
                if packs:
                    return replace(blank, packs=packs)
        return None

    def num_wanted(self, dispatch: Dispatch) -> int:
        """Return how many such tasks there could be now: work for the CPU pool."""
        return sum(len(self._unfed(pool, dispatch, MAX_AHEAD)) for pool in self._views)

    def _begin(self, task: Task, before: str, node: str, dispatch: Dispatch) -> tuple[str, ...]:
        """Note that packets of a shard are made now; return the pools for which they are."""
        packs = []
        for pool, view in self._views.items():
            key = _key(task, pool)
            num_bytes = packet_bytes(view, task.num_rows)
            if (
                self._may_be_fed(key)
                and dispatch.follows(key, before)
                and self._num_ahead(pool) < self._most(pool, MAX_AHEAD)
                and self._used_bytes(node) + num_bytes <= self._room(node)
            ):
                self._packets[key] = Packet(pool, num_bytes, node)
                packs.append(pool)
        return tuple(packs)

    def _unfed(self, pool: str, dispatch: Dispatch, each: int) -> list[Task]:
        """Return the first ready tasks without a packet, as many as may be made ahead.

        Those are left out whose shard a CPU worker is to look at anyway: it packs besides.
        """
        number = self._most(pool, each) - self._num_ahead(pool)
        if number <= 0:
            return []
        first = dispatch.ahead(pool, number + len(self._packets))
        found = (t for t in first if not dispatch.is_shard_open(CPU_POOL, t.shard))
        return [t for t in found if self._may_be_fed(t.key) and self._fits(pool, t)][:number]

    def _may_be_fed(self, key: str) -> bool:
        return key not in self._packets and key not in self._over

    def _fits(self, pool: str, task: Task) -> bool:
        """Say whether a task's packet fits on some node, once there is nothing else."""
        num_bytes = packet_bytes(self._views[pool], task.num_rows)
        return any(num_bytes <= self._room(node) for node in self._store_bytes())

    def _most(self, pool: str, each: int) -> int:
        return each * max(self._num_workers[pool], 1)

    def _num_ahead(self, pool: str) -> int:
        return sum(1 for p in self._packets.values() if p.pool == pool and not p.is_taken)

    def _used_bytes(self, node: str) -> int:
        return sum(packet.num_bytes for packet in self._packets.values() if packet.node == node)

    def _room(self, node: str) -> int:
        return int(self._store_bytes().get(node, 0) * STORE_SHARE)

    # Seeing ------------------------------------------------------------------------------------

    def next(
        self, worker: str, pool: str, node: str, num_calls: int, dispatch: Dispatch
    ) -> Task | None:
        """Hand out a task of a GPU pool: one whose views are made, if there is one.

        A worker waits while it has something else to do, or its views are being made; else it takes
        a task and decodes by itself.

        Args:
            worker: Who asks.
            pool: Its pool, for which `feeds` is true.
            node: Where it lives; what was made there comes first.
            num_calls: Tasks that it has in hand.
            dispatch: Who knows the tasks.
        """
        made = [
            (packet.node != node, key)
            for key, packet in self._packets.items()
            if packet.pool == pool and packet.reference is not None and not packet.is_taken
        ]
        for _, key in sorted(made):
            task = dispatch.next(worker, pool, key=key)
            if task is not None:
                self._packets[key].is_taken = True
                return task
        waits = num_calls > 0 or self._num_idle[pool] < self._num_making(pool)
        for task in dispatch.ahead(pool, len(self._packets) + MAX_AHEAD):
            if task.key in self._packets:
                continue
            if waits and self._may_be_fed(task.key) and self._fits(pool, task):
                break
            taken = dispatch.next(worker, pool, key=task.key)
            if taken is not None:
                self._over.add(taken.key)
                return taken
        if not num_calls:
            self._num_idle[pool] += 1
        return None

    def is_awaited(self, pool: str) -> bool:
        """Say whether views are being made for a pool, so that its workers do not idle for good."""
        return self._num_making(pool) > 0

    def reference(self, task: Task) -> Any:
        """Return where the packet of a task is that was handed out; null where it has none."""
        packet = self._packets.get(task.key)
        return None if packet is None else packet.reference

    def _num_making(self, pool: str) -> int:
        return sum(1 for p in self._packets.values() if p.pool == pool and p.reference is None)

    # What happened -----------------------------------------------------------------------------

    def ended(self, task: Task, made: Mapping[str, Any]) -> None:
        """Take in that a call has ended, of a worker that makes packets or of one that sees one.

        Args:
            task: The task.
            made: Pool -> reference, for what it packed.
        """
        for pool in task.packs:
            key = _key(task, pool)
            if key in self._packets and pool in made:
                self._packets[key].reference = made[pool]
            else:
                self._forget(key)
        if task.key in self._packets:
            self._forget(task.key)

    def unstarted(self, task: Task) -> None:
        """Take in that a call had not begun: nothing of it is over."""
        for pool in task.packs:
            self._packets.pop(_key(task, pool), None)
        if task.key in self._packets:
            self._packets[task.key].is_taken = False

    def _forget(self, key: str) -> None:
        self._packets.pop(key, None)
        self._over.add(key)


def _key(task: Task, pool: str) -> str:
    """Return the key of the task that one pool does with the same shard."""
    return Task("shard", task.name, (pool,)).key
