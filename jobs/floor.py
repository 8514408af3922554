"""Who works on which node, whose place is kept for whom, and who would have to leave for whom."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from curation.pipeline.runner import Pool
from jobs.rooms import NodeSize, Room, by_size, held_by


@dataclass(frozen=True)
class Member:
    """A worker.

    Attributes:
        name: Its name.
        pool: Its pool.
        node: Where it lives; empty while it is pending.
        num_calls: Calls in its hands.
        is_ending: Whether it gets no new calls.
        waits_s: Time it has been pending, counted anew when room was made, or idle.
    """

    name: str
    pool: Pool
    node: str = ""
    num_calls: int = 0
    is_ending: bool = False
    waits_s: float = 0.0


Cost = Callable[[Member], int | None]
"""What it costs to end a worker; null where it must stay."""


class Floor:
    """The nodes, as they are now and as they will be once those that end are gone.

    Args:
        members: All workers but dead ones.
        nodes: Id -> size of the living nodes.
        startable: Nodes that an autoscaler may still add.
    """

    def __init__(
        self,
        members: Iterable[Member],
        nodes: Mapping[str, NodeSize],
        startable: Iterable[NodeSize] = (),
    ) -> None:
        self._nodes = nodes
        self._staying: dict[str, list[Member]] = {node: [] for node in nodes}
        self._soon: dict[str, list[Pool]] = {node: [] for node in nodes}
        self.is_making_room = False
        """Whether somebody ends already."""
        present: dict[str, list[Pool]] = {node: [] for node in nodes}
        for member in members:
            if member.node in nodes:
                present[member.node].append(member.pool)
                if member.is_ending:
                    self.is_making_room = True
                else:
                    self._staying[member.node].append(member)
                    self._soon[member.node].append(member.pool)
        self._rooms_now = {node: Room(size, present[node]) for node, size in nodes.items()}
        self._rooms_soon = {node: self._room_without(node, ()) for node in nodes}
        self._rooms_to_come = [Room(size) for size in startable]

    @property
    def staying(self) -> list[Member]:
        """All workers that live and do not end."""
        return [member for group in self._staying.values() for member in group]

    # Keeping places ----------------------------------------------------------------------------

    def keep_now(self, pool: Pool) -> bool:
        """Keep a place for a worker where there is one now; say whether there is."""
        return self._keep(pool, self._rooms_now)

    def keep_soon(self, pool: Pool) -> bool:
        """Keep a place where there will be one once those that end are gone."""
        return self._keep(pool, self._rooms_soon)

    def keep_to_come(self, pool: Pool) -> bool:
        """Keep a place on a node that an autoscaler may add."""
        room = next((room for room in self._rooms_to_come if room.fits(pool)), None)
        if room is not None:
            room.take(pool)
        return room is not None

    def leave(self, member: Member) -> None:
        """Count a worker that lives as one that ends."""
        self._staying[member.node].remove(member)
        self._soon[member.node].remove(member.pool)
        self._rooms_soon[member.node] = self._room_without(member.node, ())

    def replace(self, victims: Sequence[Member], pool: Pool) -> None:
        """Count workers of one node as ending, and keep their place for one of `pool`."""
        for victim in victims:
            self.leave(victim)
        self._settle(pool, victims[0].node)

    def _keep(self, pool: Pool, rooms: Mapping[str, Room]) -> bool:
        node = next((node for node, room in rooms.items() if room.fits(pool)), None)
        if node is not None:
            self._settle(pool, node)
        return node is not None

    def _settle(self, pool: Pool, node: str) -> None:
        self._soon[node].append(pool)
        self._rooms_now[node].take(pool)
        self._rooms_soon[node].take(pool)

    # Making room -------------------------------------------------------------------------------

    def cheapest(
        self,
        pool: Pool,
        cost_of: Cost,
        may_lose: Callable[[Pool, int], bool],
        *,
        is_kept_out: bool = False,
        moves: bool = False,
    ) -> list[Member]:
        """Return the workers of one node whose end makes room at the least cost, or none.

        Args:
            pool: For one worker of this pool.
            cost_of: Who may end.
            may_lose: Says whether a pool may lose that many workers.
            is_kept_out: Count only what those who end give back; what else seems free is not.
            moves: Those who end must find room again, beside the new one.
        """
        best: tuple[int, list[Member]] | None = None
        for node, staying in self._staying.items():
            costs = {m: cost for m in staying if (cost := cost_of(m)) is not None}
            victims: list[Member] = []
            for member in sorted(costs, key=lambda m: (costs[m], m.name)):
                if self._holds(node, pool, victims, is_kept_out):
                    break
                lost = 1 + sum(1 for victim in victims if victim.pool == member.pool)
                if member.pool != pool and may_lose(member.pool, lost):
                    victims.append(member)
            victims = self._needed(node, pool, victims, is_kept_out)
            if not victims or (moves and not self._find_room_again(node, pool, victims)):
                continue
            total = sum(costs[victim] for victim in victims)
            if best is None or total < best[0]:
                best = total, victims
        return [] if best is None else best[1]

    def _needed(
        self, node: str, pool: Pool, victims: list[Member], is_kept_out: bool
    ) -> list[Member]:
        """Return `victims` without those that make no difference; none where all are too few."""
        if not self._holds(node, pool, victims, is_kept_out):
            return []
        for victim in list(victims):
            others = [other for other in victims if other is not victim]
            if self._holds(node, pool, others, is_kept_out):
                victims = others
        return victims

    def _holds(self, node: str, pool: Pool, gone: Sequence[Member], is_kept_out: bool) -> bool:
        if is_kept_out:
            given = [victim.pool for victim in gone]
            return Room(held_by(given)).fits(pool)
        return self._room_without(node, gone).fits(pool)

    def _room_without(self, node: str, gone: Sequence[Member]) -> Room:
        left = Counter(self._soon[node]) - Counter(victim.pool for victim in gone)
        return Room(self._nodes[node], left.elements())

    def _find_room_again(self, node: str, pool: Pool, victims: Sequence[Member]) -> bool:
        rooms = [self._room_without(other, ()) for other in self._nodes if other != node]
        room = self._room_without(node, victims)
        room.take(pool)
        rooms.append(room)
        for moved in by_size(victim.pool for victim in victims):
            found = next((room for room in rooms if room.fits(moved)), None)
            if found is None:
                return False
            found.take(moved)
        return True
