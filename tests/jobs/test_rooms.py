"""What fits on a node, and which nodes may still come."""

from dataclasses import replace

import pytest

from curation.pipeline.config import NodeLimit
from curation.pipeline.runner import Pool
from jobs.rooms import NodeSize, Room, alive, by_size, held_by, startable


def pool(cpus: float, gpus: float = 0.0, name: str = "p") -> Pool:
    return Pool(name, 1, None, cpus, gpus, 1 << 30)


def node(name: str, cpus: float, gpus: float = 0.0, kind: str = "", up: bool = True):
    labels = {"ray.io/node-group": kind} if kind else {}
    resources = {"CPU": cpus, "GPU": gpus} if gpus else {"CPU": cpus}
    return {"NodeID": name, "Alive": up, "Resources": resources, "Labels": labels}


def test_parts_add_up_exactly():
    """Ten tenths of a core fill it: no rounding keeps the tenth out or lets an eleventh in."""
    room = Room(NodeSize(1.0), [pool(0.1)] * 9)

    assert room.fits(pool(0.1))
    room.take(pool(0.1))
    assert not room.fits(pool(0.1))


@pytest.mark.parametrize(
    ("held", "asked", "fits"),
    [
        ([0.6, 0.6], 0.6, False),  # 0.4 and 0.4 are left
        ([0.6, 0.6], 0.4, True),
        ([0.5], 1.0, True),
        ([0.5, 0.6], 1.0, False),
        ([], 2.0, True),
        ([0.1], 2.0, False),
        ([1.0, 1.0], 0.0, True),
    ],
)
def test_parts_of_two_gpus_do_not_add_up(held: list[float], asked: float, fits: bool):
    """A worker gets a part of one GPU or whole ones, of the two that this node has."""
    room = Room(NodeSize(8.0, 2.0), [pool(1, gpus) for gpus in held])

    assert room.fits(pool(1, asked)) is fits


def test_larger_workers_come_first():
    """GPUs before cores, cores before names."""
    pools = [pool(1, name="b"), pool(4), pool(1, 1), pool(1, name="a")]

    assert [(p.gpus, p.cpus, p.name) for p in by_size(pools)] == [
        (1, 1, "p"),
        (0, 4, "p"),
        (0, 1, "a"),
        (0, 1, "b"),
    ]


def test_dead_nodes_hold_nothing():
    """Only living nodes count."""
    nodes = [node("a", 4, 1), node("b", 8, up=False)]

    assert alive(nodes) == {"a": NodeSize(4, 1)}


def test_a_limit_counts_the_nodes_that_live():
    """Of eight, two live: six may come; the dead one is none."""
    nodes = [
        node("a", 16, kind="worker"),
        node("b", 16, kind="worker"),
        node("c", 16, kind="worker", up=False),
        node("d", 4, kind="other"),
    ]

    assert startable(nodes, {"worker": NodeLimit(count=8)}) == ([NodeSize(16)] * 6, [])


def test_a_type_that_starts_at_zero_needs_its_size():
    """Given, it counts; not given, the type is named as unknown."""
    nodes = [node("head", 0)]
    limits = {"gpu": NodeLimit(count=2, cpus=64, gpus=8), "cpu": NodeLimit(count=3)}

    assert startable(nodes, limits) == ([NodeSize(64, 8)] * 2, ["cpu"])


def test_more_nodes_than_allowed_take_nothing_off():
    """A limit below what lives leaves none to come."""
    nodes = [node("a", 16, kind="worker"), node("b", 16, kind="worker")]

    assert startable(nodes, {"worker": NodeLimit(count=1)}) == ([], [])


def test_custom_resources_are_counted_as_cores_are():
    """Parts add up, what is not there is none, and what Ray itself counts is none of them."""
    found = {"CPU": 8, "memory": 9e9, "object_store_memory": 1e9, "node:10.0.0.1": 1, "lens": 1}
    size = alive([{"NodeID": "a", "Alive": True, "Resources": found}])["a"]
    third = Pool("p", 1, None, 1.0, 0.0, 1 << 30, resources={"lens": 0.3})
    room = Room(size)

    assert size.custom == {"lens": 1}
    for _ in range(3):
        assert room.fits(third)
        room.take(third)
    assert not room.fits(third)
    assert room.fits(pool(5))
    assert not Room(size).fits(replace(third, resources={"prism": 0.1}))
    assert Room(held_by([third] * 2)).fits(replace(third, resources={"lens": 0.6}))
