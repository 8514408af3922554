"""A run ends where workers that it cannot do without are not to be had."""

from types import SimpleNamespace
from typing import Any

import pytest

from curation.errors import ResourceError
from curation.pipeline.dispatch import Dispatch
from curation.pipeline.runner import Pool
from curation.pipeline.tasks import Task
from jobs.actors import Actor
from jobs.ray_runner import RayRunner
from jobs.rooms import NodeSize

CPU = Pool("cpu", 1, None, 1.0, 0.0, 1 << 30)
GLOW = Pool("glow", 1, 1, 1.0, 1.0, 1 << 30)


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> RayRunner:
    """A runner on a node that has room for what others keep from it; views are wanted."""
    found = RayRunner(start_timeout_s=1e-9)
    found._cluster.nodes = {"n": NodeSize(2, 1)}
    prefetch: Any = SimpleNamespace(num_wanted=lambda dispatch: 3)
    found._prefetch = prefetch
    made = iter(range(9))

    def start(name: str, pool: Pool) -> Actor:
        return Actor(name, pool, None, None, next(made))

    monkeypatch.setattr(Actor, "start", start)
    monkeypatch.setattr(Actor, "end", lambda actor: None)  # Ray would look for a cluster
    glow = Actor("glow-0", GLOW, None, None, 0.0, node="n")
    found._actors["glow-0"] = glow
    return found


def size_twice(runner: RayRunner, *pools: str) -> None:
    dispatch = Dispatch(lambda step: (), lambda step, name: [], lambda *a: None, lambda end: None)
    for pool in pools:
        dispatch.add(Task("shard", "a", (f"step of {pool}",), 0, pool=pool))
    for _ in range(2):
        runner._size_at = 0.0
        runner._size_pools([CPU, GLOW], dispatch)


def test_workers_that_have_tasks_are_missed(runner: RayRunner) -> None:
    """Ingest, or a CPU stage."""
    with pytest.raises(ResourceError, match="cpu: no worker with 1 CPU and 0 GPU could be started"):
        size_twice(runner, "cpu", "glow")


def test_workers_that_would_only_make_views_are_not(runner: RayRunner) -> None:
    """The worker with the GPU decodes for itself."""
    size_twice(runner, "glow")

    assert any(actor.pool == CPU for actor in runner._actors.values()), "they are asked for"
