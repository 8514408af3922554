"""Workers that something keeps from working: how long each rests, and when the run ends."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

MAX_HINDRANCES = 3
"""How often a worker, or a task, is hindered before that means something."""

_FIRST_REST_S = 1.0
_LONGEST_REST_S = 30.0


@dataclass
class _Pool:
    """Since something was last worked on in a pool: who was given a task, and who was hindered."""

    given: set[str] = field(default_factory=set)
    hindrances: Counter[str] = field(default_factory=Counter)


class Bench:
    """Rests a worker that was hindered, the longer the more often: failing is fast.

    One bad machine must neither take task after task from the good ones nor end the run, and
    trouble of a second must pass. So a pool is given up only when each of its workers that was
    given a task since one was last worked on has been hindered `MAX_HINDRANCES` times.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._pools: dict[str, _Pool] = {}
        self._num_rests: Counter[str] = Counter()
        self._in_a_row: Counter[str] = Counter()
        self._until: dict[str, float] = {}
        self._successes: Counter[str] = Counter()

    def is_benched(self, worker: str) -> bool:
        """Say whether a worker rests now."""
        return worker in self._until and self._clock() < self._until[worker]

    def hand(self, worker: str, pool: str) -> int:
        """Take in that a worker was given a task; return its rests so far, for `hindered`."""
        self._pools.setdefault(pool, _Pool()).given.add(worker)
        return self._num_rests[worker]

    def worked(self, worker: str, pool: str, busy: Iterable[str]) -> None:
        """Take in that a worker could work on its task.

        Args:
            worker: Who.
            pool: Its pool.
            busy: The pool's workers that have a task in hand: they may yet show the same.
        """
        self._successes[worker] += 1
        self._in_a_row.pop(worker, None)
        self._until.pop(worker, None)
        self._pools[pool] = _Pool(set(busy))

    def hindered(self, worker: str, pool: str, num_rests: int) -> bool:
        """Rest a worker; return whether nobody in its pool gets on.

        Args:
            worker: Who.
            pool: Its pool.
            num_rests: What `hand` said of the task. What was handed out before the last rest and
                waited behind it met the same trouble, and is not counted.
        """
        state = self._pools.setdefault(pool, _Pool())
        state.given.add(worker)
        if num_rests == self._num_rests[worker]:
            state.hindrances[worker] += 1
            self.rest(worker)
        return all(state.hindrances[name] >= MAX_HINDRANCES for name in state.given)

    def rest(self, worker: str) -> None:
        """Let a worker rest, twice as long as the time before unless it has worked since."""
        seconds = min(_FIRST_REST_S * 2 ** self._in_a_row[worker], _LONGEST_REST_S)
        self._num_rests[worker] += 1
        self._in_a_row[worker] += 1
        self._until[worker] = self._clock() + seconds

    def leave(self, worker: str) -> None:
        """Forget a worker that is no more: nobody waits for its verdict."""
        for state in self._pools.values():
            state.given.discard(worker)
        self._until.pop(worker, None)
        self._in_a_row.pop(worker, None)

    def successes(self, worker: str) -> int:
        """Return how many tasks a worker could work on."""
        return self._successes[worker]
