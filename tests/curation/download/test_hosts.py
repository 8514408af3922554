"""Turns at a host, in virtual time."""

import asyncio

from curation.download.hosts import HostGate
from tests.curation.download.virtual_time import run


async def visit(gate, starts, seconds=1.0):
    async with gate:
        starts.append(asyncio.get_running_loop().time())
        await asyncio.sleep(seconds)


def starts_of(gate, visits, seconds=1.0):
    async def main():
        starts: list[float] = []
        await asyncio.gather(*(visit(gate, starts, seconds) for _ in range(visits)))
        return starts

    return run(main())


def test_so_many_at_a_time():
    """Two slots of one second each."""
    assert starts_of(HostGate(2, 0.0, 9), 5) == [0.0, 0.0, 1.0, 1.0, 2.0]


def test_a_least_time_between_starts():
    """Free slots do not help while the last start is too recent."""
    assert starts_of(HostGate(4, 0.5, 9), 4, seconds=0.1) == [0.0, 0.5, 1.0, 1.5]


def test_a_pause_holds_everybody():
    """Those who wait already too."""

    async def main():
        starts: list[float] = []
        gate = HostGate(1, 0.0, 9)
        waiting = asyncio.gather(*(visit(gate, starts) for _ in range(3)))
        await asyncio.sleep(0.5)
        gate.pause(10)
        await waiting
        return starts

    assert run(main()) == [0.0, 10.5, 11.5]


def test_a_dead_host_makes_nobody_wait():
    """After the last failure that counts, whoever waits for a turn gets it at once."""

    async def main():
        starts: list[float] = []
        gate = HostGate(1, 5.0, 2)
        for _ in range(2):
            assert not gate.is_dead
            await visit(gate, starts)
            gate.kept_silent()
        assert gate.is_dead
        await visit(gate, starts)
        return starts

    assert run(main()) == [0.0, 5.0, 6.0]


def test_an_answer_clears_the_account():
    """Only failures in a row count."""
    gate = HostGate(1, 0.0, 2)

    gate.kept_silent()
    gate.answered()
    gate.kept_silent()

    assert not gate.is_dead
