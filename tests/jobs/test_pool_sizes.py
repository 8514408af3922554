"""Which workers are started and ended, without Ray: single decisions, then whole runs."""

import itertools
import random
from collections import deque

import pytest

from curation.pipeline.runner import Pool
from jobs.floor import Member
from jobs.pool_sizes import IDLE_S, PATIENCE_S, WARM_S, Changes, Demand, size_pools
from jobs.rooms import NodeSize, Room, by_size

CPU = Pool("cpu", 1, None, 1.0, 0.0, 1 << 30)
OWN = Pool("own", 1, None, 1.0, 0.0, 1 << 30)
BIG = Pool("big", 1, None, 4.0, 0.0, 1 << 30)
GPU = Pool("gpu", 1, None, 1.0, 1.0, 1 << 30)


def team(pool: Pool, number: int, node: str = "n0", **facts) -> list[Member]:
    start = facts.pop("start", 0)
    return [Member(f"{pool.name}-{start + n}", pool, node, **facts) for n in range(number)]


def decide(demands, members, nodes, free=None, startable=()) -> Changes:
    """Take the nodes as sizes, and as free what the members leave."""
    named = {f"n{number}": size for number, size in enumerate(nodes)}
    if free is None:
        used = [m.pool for m in members if m.node]
        free = NodeSize(
            sum(size.cpus for size in nodes) - sum(p.cpus for p in used),
            sum(size.gpus for size in nodes) - sum(p.gpus for p in used),
        )
    return size_pools(demands, members, named, free, startable)


def test_smallest_sizes_come_before_any_growth():
    """On two cores a pool whose tasks all wait gets its worker; the other does not take both."""
    demands = [Demand(CPU, ready=40), Demand(OWN, waiting=40)]

    changes = decide(demands, [], [NodeSize(2)])

    assert sorted(changes.start) == ["cpu", "own"]


def test_a_worker_counts_for_as_many_shards_as_it_has_in_flight():
    """Nine shards keep three workers of four in flight busy; a fourth would find none."""
    pool = Pool("engine", 1, None, 1.0, 1.0, 1 << 30, shards_in_flight=4)

    assert Demand(pool, ready=5, running=4).useful == 3
    assert Demand(pool, waiting=1).useful == 1
    assert Demand(pool).useful == 0


def test_the_largest_is_asked_for_first():
    """So that it finds a whole node."""
    demands = [Demand(CPU, ready=9), Demand(BIG, waiting=9)]

    assert decide(demands, [], [NodeSize(4), NodeSize(4)]).start[:2] == ("big", "cpu")


def test_growth_leaves_room_for_a_smallest_size_that_pends():
    """Three cores are free, but four of them are spoken for once the busy one is gone."""
    demands = [Demand(CPU, ready=40), Demand(BIG, ready=1)]
    members = [*team(CPU, 1, num_calls=1), *team(BIG, 1, "")]

    changes = decide(demands, members, [NodeSize(4), NodeSize(1)])

    assert changes.start == ()
    assert changes.end == ("cpu-0",), "it moves to the node that can hold it"


def test_pools_without_work_are_asked_for_nothing():
    """A pool that outlived its wave is not filled again."""
    assert decide([Demand(CPU), Demand(OWN, ready=1)], [], [NodeSize(4)]).start == ("own",)


def test_a_pool_at_most_doubles():
    """Three live and one is on its way, so two more are asked for."""
    members = [*team(CPU, 3, num_calls=1), *team(CPU, 1, "", start=3)]

    assert decide([Demand(CPU, ready=90)], members, [NodeSize(64)]).start == ("cpu", "cpu")


def test_growth_ends_at_what_is_useful():
    """No more workers than tasks, nor than allowed; waiting tasks count for GPUs only."""
    members = team(CPU, 4, num_calls=1)
    few = Pool("cpu", 1, 5, 1.0, 0.0, 1 << 30)

    assert decide([Demand(CPU, ready=1, running=4)], members, [NodeSize(64)]).start == ("cpu",)
    assert decide([Demand(CPU, waiting=9, running=4)], members, [NodeSize(64)]).start == ()
    limited = team(few, 4, num_calls=1)
    assert decide([Demand(few, ready=99, running=4)], limited, [NodeSize(64)]).start == ("cpu",)
    placed = team(GPU, 4)
    assert decide([Demand(GPU, waiting=9)], placed, [NodeSize(64, 8)]).start == ("gpu",) * 4


def test_growth_needs_one_node_that_holds_it():
    """Four cores free on four nodes are no room for a worker of four."""
    members = team(BIG, 1, num_calls=1)
    nodes = [NodeSize(5), NodeSize(1), NodeSize(1), NodeSize(1)]

    assert decide([Demand(BIG, ready=9, running=1)], members, nodes).start == ()


def test_growth_leaves_alone_what_others_use():
    """Sixteen cores that are not ours, of which Ray says that one is free."""
    members = team(CPU, 2, num_calls=1)
    demand = Demand(CPU, ready=90, running=2)

    assert decide([demand], members, [NodeSize(16)], NodeSize(1)).start == ("cpu",)
    assert decide([demand], members, [NodeSize(16)], NodeSize(0)).start == ()


def test_pools_grow_by_turns_gpus_first():
    """Neither waits until the other has all it wants, and cores are kept for the GPUs."""
    demands = [Demand(CPU, ready=90), Demand(GPU, waiting=90)]
    members = [*team(CPU, 4, num_calls=1), *team(GPU, 4)]

    started = decide(demands, members, [NodeSize(14, 8)]).start

    assert started == ("gpu", "cpu", "gpu", "cpu", "gpu", "cpu")


def test_growth_may_ask_for_nodes_that_do_not_live_yet():
    """That is how an autoscaler hears of it; what pends for such a node is counted."""
    demand = Demand(CPU, ready=90, running=4)
    members = team(CPU, 4, num_calls=2)
    more = [NodeSize(4)]

    assert decide([demand], members, [NodeSize(4)]).start == ()
    assert decide([demand], members, [NodeSize(4)], startable=more).start == ("cpu",) * 4
    members += team(CPU, 4, "", start=4)
    assert decide([demand], members, [NodeSize(4)], startable=more).start == ()


def test_an_idle_worker_above_the_smallest_size_makes_room():
    """Rather than a busy one; one worker is enough."""
    demands = [Demand(CPU, ready=9, running=2), Demand(OWN, waiting=9)]
    members = [*team(CPU, 2, num_calls=2), *team(CPU, 2, start=2), *team(OWN, 1, "")]

    changes = decide(demands, members, [NodeSize(4)])

    assert changes.end == ("cpu-2",)
    assert changes.start == ()
    assert not changes.stuck


def test_a_busy_worker_makes_room_once():
    """The one with fewest calls; while it works on, nobody else has to go, and nothing grows."""
    demands = [Demand(CPU, ready=9, running=3), Demand(OWN, waiting=9)]
    members = [*team(CPU, 1, num_calls=2), *team(CPU, 1, start=1, num_calls=1)]
    pending = team(OWN, 1, "")

    changes = decide(demands, [*members, *pending], [NodeSize(2)])
    assert changes == Changes(end=("cpu-1",))

    ending = [members[0], Member("cpu-1", CPU, "n0", 1, is_ending=True)]
    late = team(OWN, 1, "", waits_s=2 * PATIENCE_S)
    assert decide(demands, [*ending, *pending], [NodeSize(2)]) == Changes()
    assert decide(demands, [*ending, *late], [NodeSize(2)]) == Changes()


def test_nobody_ends_who_is_within_the_smallest_size():
    """Then what is missing is not ours to give, and the clock of the start runs."""
    demands = [Demand(CPU, ready=9), Demand(OWN, waiting=9)]
    members = [*team(CPU, 1, num_calls=1), *team(OWN, 1, "", waits_s=2 * PATIENCE_S)]

    assert decide(demands, members, [NodeSize(1)]) == Changes(stuck=frozenset({"own"}))


def test_a_pool_without_work_gives_way_to_a_smallest_size():
    """Even of its own smallest size, but sooner one that holds no model."""
    demands = [Demand(CPU), Demand(GPU), Demand(BIG, ready=1)]
    members = [*team(GPU, 1), *team(CPU, 1), *team(BIG, 1, "")]

    assert decide(demands, members, [NodeSize(5, 1)]).end == ("cpu-0",)
    assert sorted(decide(demands, members, [NodeSize(4, 1)]).end) == ["cpu-0", "gpu-0"]


def test_room_is_made_on_one_node():
    """Where it costs least: one idle worker on the second node, not two busy ones on the first."""
    demands = [Demand(CPU, ready=9, running=9), Demand(BIG, waiting=1)]
    members = [
        *team(CPU, 2, "n0", num_calls=2),
        *team(CPU, 1, "n1", start=2, num_calls=2),
        *team(CPU, 1, "n1", start=3),
        *team(BIG, 1, ""),
    ]

    assert decide(demands, members, [NodeSize(4), NodeSize(5)]).end == ("cpu-3",)


def test_a_smaller_worker_moves_when_nobody_is_spare():
    """Smallest sizes are spread over both nodes; one moves, and is asked for again only later."""
    pair = Pool("pair", 2, None, 1.0, 0.0, 1 << 30)
    demands = [Demand(pair, ready=9, running=2), Demand(BIG, waiting=1)]
    members = [*team(pair, 1, "n0", num_calls=1), *team(pair, 1, "n1", start=1, num_calls=2)]
    nodes = [NodeSize(4), NodeSize(4)]

    assert decide(demands, [*members, *team(BIG, 1, "")], nodes).end == ("pair-0",)
    # It has gone: until the large one has come, nobody else is asked for.
    assert decide(demands, [*members[1:], *team(BIG, 1, "")], nodes).start == ()
    # The large one has come.
    assert decide(demands, [*members[1:], *team(BIG, 1, "n0")], nodes).start[:1] == ("pair",)


def test_a_larger_worker_never_moves_for_a_smaller_one():
    """Or the two would drive each other out for ever."""
    members = [*team(BIG, 1, num_calls=1), *team(CPU, 1, "")]

    changes = decide([Demand(BIG, running=1), Demand(CPU, ready=1)], members, [NodeSize(4)])

    assert changes == Changes(stuck=frozenset({"cpu"}))


def test_what_cannot_be_seen_is_in_the_way():
    """We count room, yet the worker pends: what others hold can only come from ours."""
    demands = [Demand(CPU, ready=9, running=3), Demand(OWN, waiting=9)]
    members = team(CPU, 3, num_calls=1)
    nodes = [NodeSize(8)]

    soon = decide(demands, [*members, *team(OWN, 1, "")], nodes, NodeSize(0))
    assert soon == Changes(stuck=frozenset({"own"}))
    late = decide(demands, [*members, *team(OWN, 1, "", waits_s=2 * PATIENCE_S)], nodes)
    assert late == Changes(end=("cpu-0",))


def test_a_smallest_size_waits_for_a_node_to_come():
    """No room is made for a GPU that no living node has, and the others go on growing."""
    demands = [Demand(CPU, ready=9, running=2), Demand(GPU, waiting=9)]
    members = [*team(CPU, 2, num_calls=1), *team(GPU, 1, "", waits_s=100.0)]

    changes = decide(demands, members, [NodeSize(4)], NodeSize(3), [NodeSize(4, 1)])

    assert changes.end == ()
    assert changes.stuck == {"gpu"}
    assert "cpu" in changes.start


def test_pending_growth_gives_way_to_a_smallest_size():
    """It could take the very room that is being made."""
    demands = [Demand(CPU, ready=9, running=3), Demand(OWN, waiting=9)]
    members = [*team(CPU, 2, num_calls=1), *team(CPU, 1, "", start=2), *team(OWN, 1, "")]

    changes = decide(demands, members, [NodeSize(2)])

    assert sorted(changes.end) == ["cpu-0", "cpu-2"]


def test_who_pends_for_nothing_is_withdrawn():
    """The queue ran dry meanwhile."""
    members = [*team(CPU, 2, num_calls=1), *team(CPU, 2, "", start=2)]

    assert sorted(decide([Demand(CPU, running=2)], members, [NodeSize(4)]).end) == [
        "cpu-2",
        "cpu-3",
    ]


def test_the_long_idle_give_their_room_to_who_has_tasks():
    """Above the smallest size after a moment; the last one, without a GPU, after a longer one."""
    demands = [Demand(CPU, ready=9, running=1), Demand(OWN)]
    busy = team(CPU, 1, num_calls=1)

    def ended(number: int, waits_s: float, pool: Pool = OWN) -> tuple[str, ...]:
        members = [*busy, *team(pool, number, waits_s=waits_s)]
        changed = [demands[0], Demand(pool)]
        return decide(changed, members, [NodeSize(1 + number, number)]).end

    assert ended(2, IDLE_S / 2) == ()
    assert ended(2, IDLE_S * 2) == ("own-0",)
    assert ended(1, IDLE_S * 2) == ()
    assert ended(1, WARM_S * 2) == ("own-0",)
    assert ended(1, WARM_S * 2, GPU) == (), "a model loads once"


def test_a_busy_worker_makes_room_for_a_gpu_that_nobody_uses():
    """Cores can be had anywhere."""
    demands = [Demand(CPU, ready=9, running=7), Demand(GPU, ready=9, running=1)]
    members = [*team(CPU, 7, num_calls=1), *team(GPU, 1, num_calls=1)]

    assert decide(demands, members, [NodeSize(8, 2)]).end == ("cpu-0",)
    assert decide(demands, members, [NodeSize(8, 1)]).end == ()


def test_pools_shrink_to_their_smallest_size_when_idle():
    """So that an autoscaler can take nodes back; what has tasks to come stays."""
    members = team(CPU, 3, waits_s=2 * WARM_S)

    assert len(decide([Demand(CPU, waiting=9)], members, [NodeSize(4)]).end) == 2
    assert decide([Demand(CPU, ready=9)], members, [NodeSize(4)]).end == ()


class Run:
    """A run on pretended nodes: pending workers find room in the order in which they were asked."""

    def __init__(self, pools, chains, nodes, others=()) -> None:
        self.pools = {pool.name: pool for pool in pools}
        self.nodes = {f"n{number}": size for number, size in enumerate(nodes)}
        self.others = [(f"n{number}", Pool("other", 1, 1, c, g, 0)) for number, c, g in others]
        self.ready: dict[str, deque[tuple[int, int]]] = {name: deque() for name in self.pools}
        for shard, chain in enumerate(chains):
            self.ready[chain[0]].append((shard, 0))
        self.chains = chains
        self.workers: dict[str, dict] = {}
        self.now = self.room_made = 0.0
        self.stuck = 0.0
        self.longest_stuck = 0.0
        self.numbers = itertools.count()

    def demand(self, pool: Pool) -> Demand:
        running = sum(len(w["calls"]) for w in self.workers.values() if w["pool"] == pool)
        at = {task for queue in self.ready.values() for task in queue}
        at |= {task for w in self.workers.values() for task, _ in w["calls"]}
        waiting = sum(self.chains[s][step + 1 :].count(pool.name) for s, step in at)
        return Demand(pool, len(self.ready[pool.name]), waiting, running)

    def members(self) -> list[Member]:
        found = []
        for name, w in self.workers.items():
            since = w["since"] if w["node"] else max(w["since"], self.room_made)
            facts = len(w["calls"]), w["ends"], self.now - since
            found.append(Member(name, w["pool"], w["node"], *facts))
        return found

    def rooms(self) -> dict[str, Room]:
        held = [*self.others, *((w["node"], w["pool"]) for w in self.workers.values())]
        return {
            node: Room(size, [p for n, p in held if n == node]) for node, size in self.nodes.items()
        }

    def step(self) -> None:
        used = [
            *[p for _, p in self.others],
            *[w["pool"] for w in self.workers.values() if w["node"]],
        ]
        free = NodeSize(
            sum(s.cpus for s in self.nodes.values()) - sum(p.cpus for p in used),
            sum(s.gpus for s in self.nodes.values()) - sum(p.gpus for p in used),
        )
        demands = [self.demand(pool) for pool in self.pools.values()]
        changes = size_pools(demands, self.members(), self.nodes, free)
        staffed = {w["pool"].name for w in self.workers.values() if w["node"]}
        self.stuck = self.stuck + 1 if changes.stuck - staffed else 0.0
        self.longest_stuck = max(self.stuck, self.longest_stuck)
        for name in changes.end:
            self.workers[name]["ends"] = True
        for name in changes.start:
            pool = self.pools[name]
            worker = {"pool": pool, "node": "", "calls": [], "ends": False, "since": self.now}
            self.workers[f"{name}-{next(self.numbers)}"] = worker
        self.work()
        self.now += 1

    def work(self) -> None:
        for name, w in list(self.workers.items()):
            if w["calls"] and w["calls"][0][1] <= self.now:
                (shard, step), _ = w["calls"].pop(0)
                w["since"] = self.now
                if step + 1 < len(self.chains[shard]):
                    self.ready[self.chains[shard][step + 1]].append((shard, step + 1))
            if w["ends"] and not w["calls"]:
                del self.workers[name]
                self.room_made = self.now
        for w in self.workers.values():
            node = next((n for n, room in self.rooms().items() if room.fits(w["pool"])), None)
            if not w["node"] and not w["ends"] and node is not None:
                w["node"], w["since"] = node, self.now
            queue = self.ready[w["pool"].name]
            if w["node"] and not w["ends"] and not w["calls"] and queue:
                w["calls"].append((queue.popleft(), self.now + 7))

    def is_over(self) -> bool:
        return not any(self.ready.values()) and not any(w["calls"] for w in self.workers.values())


def test_a_stage_behind_many_tasks_runs_on_two_cores():
    """The cluster is full of one pool's workers and the other still gets its own."""
    run = Run([CPU, OWN], [("cpu", "own")] * 20, [NodeSize(2)])

    while not run.is_over() and run.now < 1000:
        run.step()

    assert run.is_over()
    assert run.now < 20 * 7 + 100, "both cores were used most of the time"


def admitted(rng: random.Random, nodes, others) -> list[Pool]:
    """Draw pools whose smallest sizes fit beside the others, the largest first."""
    while True:
        rooms = [Room(size) for size in nodes]
        for number, cpus, gpus in others:
            rooms[number].take(Pool("other", 1, 1, cpus, gpus, 0))
        pools = [
            Pool(f"p{n}", rng.randint(1, 2), None, rng.randint(1, 4), rng.choice([0, 0, 0.5, 1]), 0)
            for n in range(rng.randint(1, 4))
        ]
        for pool in by_size(p for p in pools for _ in range(p.min_workers)):
            room = next((room for room in rooms if room.fits(pool)), None)
            if room is None:
                break
            room.take(pool)
        else:
            return pools


@pytest.mark.parametrize("seed", range(60))
def test_no_run_hangs_that_was_admitted(seed: int):
    """Pools, nodes, others and chains at random: all is done, and no pool is stuck for long."""
    rng = random.Random(seed)
    nodes = [NodeSize(rng.randint(1, 6), rng.randint(0, 2)) for _ in range(rng.randint(1, 4))]
    others = [
        (number, rng.randint(0, int(size.cpus) // 2), 0)
        for number, size in enumerate(nodes)
        if seed % 2
    ]
    pools = admitted(rng, nodes, others)
    names = [pool.name for pool in pools]
    chains = [tuple(rng.sample(names, rng.randint(1, len(names)))) for _ in range(30)]
    run = Run(pools, chains, nodes, others)

    while not run.is_over() and run.now < 4000:
        run.step()

    assert run.is_over(), (pools, nodes, others)
    assert run.longest_stuck < 60, (pools, nodes, others)
