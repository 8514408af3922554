"""How many workers each pool should have now: which to start, and which to end to make room.

A pure function of what is to be done, which workers there are and what the nodes hold: no Ray, no
clock. In this order:

1. Every pool with work, be it ready, running or waiting for other pools, is asked for its smallest
   size, the largest workers first.
2. Where our own workers are in the way of that, the cheapest of them on one node end: those of
   pools without work, then those above their pool's smallest size, idle before busy. A busy one
   gets no new calls and ends when it has none. As a last resort a smaller pool's worker moves.
3. While every smallest size has its place, pools grow where there is room, GPU pools first, at most
   doubling each time.
4. A pool with tasks ready and no room to grow gets that of a worker that has long been idle.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from curation.pipeline.runner import Pool
from jobs.floor import Cost, Floor, Member
from jobs.rooms import NodeSize, by_size

PATIENCE_S = 10.0
"""A worker that pends longer where we count room for it is kept out by something we do not see."""
IDLE_S = 5.0
"""An idle worker above its pool's smallest size ends after this, where another needs its room."""
WARM_S = 60.0
"""It ends after this in any case; and so does, where another needs its room, one within the
smallest size of a pool that has no work and no GPU, which would hold a model."""


@dataclass(frozen=True)
class Demand:
    """What a pool has to do, in tasks.

    Attributes:
        pool: The pool.
        ready: Could be done now.
        waiting: Wait for other tasks.
        running: In the hands of workers.
    """

    pool: Pool
    ready: int = 0
    waiting: int = 0
    running: int = 0

    @property
    def work(self) -> int:
        """Tasks that are not done."""
        return self.ready + self.waiting + self.running

    @property
    def useful(self) -> int:
        """Workers worth having: a GPU may wait for its input, cores have other things to do.

        Each with as many shards as it has in flight: with fewer, its engine would idle as well.
        """
        tasks = self.work if self.pool.gpus else self.ready + self.running
        wanted = -(-tasks // self.pool.shards_in_flight)
        return wanted if self.pool.max_workers is None else min(wanted, self.pool.max_workers)


@dataclass(frozen=True)
class Changes:
    """What to do.

    Attributes:
        start: Pools of workers to ask for, in this order.
        end: Names of workers that get no new calls, and end when they have none.
        stuck: Pools that lack some of their smallest size while none of our workers ends for it.
    """

    start: tuple[str, ...] = ()
    end: tuple[str, ...] = ()
    stuck: frozenset[str] = frozenset()


def size_pools(
    demands: Sequence[Demand],
    members: Sequence[Member],
    nodes: Mapping[str, NodeSize],
    free: NodeSize,
    startable: Sequence[NodeSize] = (),
) -> Changes:
    """Decide what to start and what to end.

    Args:
        demands: All pools.
        members: All workers but dead ones.
        nodes: Id -> size of the living nodes.
        free: What nobody uses on all of them together; others may use the cluster too.
        startable: Nodes that an autoscaler may still add.
    """
    sizing = _Sizing(demands, members, Floor(members, nodes, startable), free)
    sizing.withdraw_useless()
    sizing.secure_minimums()
    if sizing.is_tight:
        sizing.withdraw_growth()
    elif not sizing.is_held_back:
        sizing.grow()
    return Changes(tuple(sizing.start), tuple(sizing.end), frozenset(sizing.stuck))


class _Sizing:
    def __init__(
        self, demands: Sequence[Demand], members: Sequence[Member], floor: Floor, free: NodeSize
    ) -> None:
        by_name = {demand.pool.name: demand for demand in demands}
        self.order = [by_name[pool.name] for pool in by_size(demand.pool for demand in demands)]
        self.floor = floor
        self.start: list[str] = []
        self.end: list[str] = []
        self.stuck: set[str] = set()
        self.is_tight = False
        """Whether some smallest size waits for room on the nodes that live."""
        self.is_held_back = False
        """Whether some smallest size is not asked for yet."""
        self.has_work = {demand.pool: demand.work > 0 for demand in demands}
        self.pending: dict[Pool, list[Member]] = defaultdict(list)
        self.placed = Counter(member.pool for member in floor.staying)
        self.present = Counter(member.pool for member in members if member.node)
        self.asked: Counter[Pool] = Counter()
        self.free_cpus = free.cpus
        self.free_gpus = free.gpus
        for member in members:
            if not member.node and not member.is_ending:
                self.pending[member.pool].append(member)
                self._use(member.pool)

    def _use(self, pool: Pool) -> None:
        self.free_cpus -= pool.cpus
        self.free_gpus -= pool.gpus

    def _ask(self, pool: Pool) -> None:
        self.start.append(pool.name)
        self.asked[pool] += 1
        self._use(pool)

    def _size(self, pool: Pool) -> int:
        """Return how many workers a pool has, with those that are pending or asked for now."""
        return self.placed[pool] + len(self.pending[pool]) + self.asked[pool]

    def _growth(self, pool: Pool) -> int:
        """Return how many of those that pend are above the smallest size."""
        return max(self._size(pool) - max(pool.min_workers, self.placed[pool]), 0)

    # The smallest sizes ------------------------------------------------------------------------

    def secure_minimums(self) -> None:
        """Ask for what is missing of the smallest sizes, and make room for what pends."""
        is_arriving = False
        for demand in self.order:
            pool = demand.pool
            if not demand.work:
                continue
            missing = max(pool.min_workers - self.placed[pool], 0)
            for member in self.pending[pool][:missing]:
                is_arriving |= self._provide(demand, member.waits_s)
            # A larger worker is about to come, or waits for room: whoever is asked for meanwhile
            # could take its place. A pool with no worker at all waits only for the first.
            if is_arriving or (self.is_tight and self.present[pool]):
                self.is_held_back |= self._size(pool) < pool.min_workers
                continue
            for _ in range(pool.min_workers - self._size(pool)):
                self._ask(pool)
                self._provide(demand, 0.0)

    def _provide(self, demand: Demand, waits_s: float) -> bool:
        """Find or make room for a worker of a smallest size; say whether it is about to come."""
        pool = demand.pool
        is_kept_out = waits_s > PATIENCE_S
        has_room = self.floor.keep_now(pool)
        if has_room and not is_kept_out:
            self.stuck.add(pool.name)
            return True
        room_comes = self.floor.is_making_room if is_kept_out else self.floor.keep_soon(pool)
        if not room_comes and not self._replace(
            pool, self._cost_for_minimum, is_kept_out=is_kept_out
        ):
            if not has_room and self.floor.keep_to_come(pool):
                self.stuck.add(pool.name)
                return False
            if is_kept_out or not self._move_smaller(demand):
                self.stuck.add(pool.name)
        self.is_tight = True
        return False

    def _move_smaller(self, demand: Demand) -> bool:
        """End workers of smaller pools that find room on other nodes; say whether any do."""
        smaller = {other.pool for other in self.order[self.order.index(demand) + 1 :]}
        return self._replace(
            demand.pool, lambda m: 1 + m.num_calls if m.pool in smaller else None, moves=True
        )

    def _cost_for_minimum(self, member: Member) -> int | None:
        if not self.has_work[member.pool]:
            return 1 if member.pool.gpus else 0
        return 2 + member.num_calls if self._is_spare(member.pool) else None

    def _is_spare(self, pool: Pool, number: int = 1) -> bool:
        return self.placed[pool] - number >= pool.min_workers

    def _replace(
        self, pool: Pool, cost_of: Cost, *, is_kept_out: bool = False, moves: bool = False
    ) -> bool:
        victims = self.floor.cheapest(
            pool,
            cost_of,
            lambda p, number: moves or not self.has_work[p] or self._is_spare(p, number),
            is_kept_out=is_kept_out,
            moves=moves,
        )
        if victims:
            self.floor.replace(victims, pool)
            for victim in victims:
                self._end(victim)
        return bool(victims)

    def _end(self, member: Member) -> None:
        self.end.append(member.name)
        if member.node:
            self.placed[member.pool] -= 1
        else:
            self.pending[member.pool].remove(member)

    # Shrinking and growing ---------------------------------------------------------------------

    def withdraw_useless(self) -> None:
        """End who pends for nothing, or is not needed and has long been idle."""
        useful = {demand.pool: demand.useful for demand in self.order}
        for demand in self.order:
            least = max(demand.pool.min_workers, demand.useful)
            self._withdraw(demand.pool, least if demand.work else 0)
        for member in self.floor.staying:
            pool = member.pool
            is_long_idle = not member.num_calls and member.waits_s > WARM_S
            if is_long_idle and self.placed[pool] > max(pool.min_workers, useful[pool]):
                self.floor.leave(member)
                self._end(member)

    def withdraw_growth(self) -> None:
        """Give up pending workers above the smallest sizes: they could take the room that comes."""
        for demand in self.order:
            self._withdraw(demand.pool, demand.pool.min_workers)

    def _withdraw(self, pool: Pool, size: int) -> None:
        while self.pending[pool] and self._size(pool) > size:
            self._end(self.pending[pool][-1])

    def grow(self) -> None:
        """Ask for more workers where there is room, the pools by turns."""
        for demand in self.order:
            for _ in range(self._growth(demand.pool)):
                if not self.floor.keep_now(demand.pool):
                    self.floor.keep_to_come(demand.pool)
        budgets = {
            d.pool: max(self.placed[d.pool], 1) - self._growth(d.pool) for d in self.order if d.work
        }
        growing = [demand for demand in self.order if demand.work]
        starved: list[Demand] = []
        while growing:
            for demand in list(growing):
                pool = demand.pool
                if self._size(pool) >= demand.useful or budgets[pool] <= 0:
                    growing.remove(demand)
                elif self._take_room(pool):
                    self._ask(pool)
                    budgets[pool] -= 1
                else:
                    starved.append(demand)
                    growing.remove(demand)
        if not self.floor.is_making_room:
            self._swap(starved)

    def _take_room(self, pool: Pool) -> bool:
        is_free = self.free_cpus >= pool.cpus and self.free_gpus >= pool.gpus
        return (is_free and self.floor.keep_now(pool)) or self.floor.keep_to_come(pool)

    def _swap(self, starved: Iterable[Demand]) -> None:
        """End a worker for the first pool that has tasks ready and no room to grow."""
        for demand in starved:
            cost_of = self._cost_for_gpus if demand.pool.gpus else self._cost_for_growth
            if demand.ready and self._replace(demand.pool, cost_of):
                return

    def _cost_for_growth(self, member: Member) -> int | None:
        if member.num_calls:
            return None
        if self._is_spare(member.pool):
            return 0 if member.waits_s > IDLE_S else None
        is_cold = member.waits_s > WARM_S and not member.pool.gpus
        return 1 if is_cold and not self.has_work[member.pool] else None

    def _cost_for_gpus(self, member: Member) -> int | None:
        """For the sake of a GPU that nobody uses, a busy worker without one ends as well."""
        cost = self._cost_for_growth(member)
        if cost is None and self._is_spare(member.pool) and not member.pool.gpus:
            return 2 + member.num_calls
        return cost
