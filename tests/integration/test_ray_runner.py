"""The Ray runner on a real cluster of two nodes: same bytes, and what it does when things die."""

import hashlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from curation.errors import ResourceError
from curation.pipeline.config import parse_pipeline
from curation.pipeline.local_runner import LocalRunner
from curation.pipeline.runner import Runner
from curation.pipeline.session import Event, Session
from curation.pipeline.summary import RunSummary
from jobs.ray_runner import RayRunner
from tests.fakes import STAGES

pytestmark = pytest.mark.slow

ALL_STAGES = "{luma: {}, double: {}, heavy: {}, middle: {}, twins: {}}"
NUM_SHARDS = 40


def run(
    dataset: Path,
    source: Path,
    stages: str,
    runner: Callable[[], Runner],
    on_event: Callable[[Event], None] = lambda event: None,
    settings: str = "{max_shard_rows: 2, workers: 3}",
) -> RunSummary:
    """Run a pipeline over `source` into `dataset`."""
    text = (
        f"name: test\ndataset: {dataset}\nsource: {{name: lake, roots: [{source}]}}\n"
        f"run: {settings}\nstages: {stages}\n"
    )
    session = Session(parse_pipeline(text, "test.yaml"), text, STAGES)
    return session.run(runner, runner_name="test", on_event=on_event)


def contents(dataset: Path) -> dict[str, str]:
    """Return the hash of every file that does not differ between runs by design."""
    names = sorted(p for p in dataset.rglob("*") if p.is_file())
    own = [p for p in names if p.parts[len(dataset.parts)] not in ("runs", "dataset.json")]
    return {
        str(p.relative_to(dataset)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in own
        if p.parent.name != "pipelines"
    }


def shards_of(dataset: Path, instance: str) -> int:
    """Count the shards that an instance has finished."""
    return len(list((dataset / instance).rglob("shard-*.parquet")))


def test_gives_the_same_bytes_as_the_local_runner(
    ray_cluster: Cluster, pictures: Path, tmp_path: Path
) -> None:
    """Who runs a plan makes no difference to any file."""
    local = run(tmp_path / "local", pictures, ALL_STAGES, LocalRunner)
    onray = run(tmp_path / "ray", pictures, ALL_STAGES, lambda: RayRunner(ray_cluster.address))

    assert local.exit_code == onray.exit_code == 0
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")
    assert shards_of(tmp_path / "ray", "middle") == NUM_SHARDS


def test_an_actor_killed_in_mid_run_costs_nothing(
    ray_cluster: Cluster, pictures: Path, tmp_path: Path
) -> None:
    """Its call is charged one try and done again; every shard is written."""
    killed: list[int] = []

    def kill_one(event: Event) -> None:
        if event["event"] == "progress" and not killed:
            pids = worker_pids()
            if pids:
                os.kill(pids[0], signal.SIGKILL)
                killed.append(pids[0])

    stages = "{luma: {}, slow: {seconds: 0.1}}"
    summary = run(
        tmp_path / "ds", pictures, stages, lambda: RayRunner(ray_cluster.address), kill_one
    )

    assert killed
    assert summary.exit_code == 0
    assert summary.facts["charges"] <= 1
    assert shards_of(tmp_path / "ds", "slow") == NUM_SHARDS
    run(tmp_path / "calm", pictures, stages, LocalRunner)
    calm = contents(tmp_path / "calm")
    found = contents(tmp_path / "ds")
    assert {k: v for k, v in found.items() if not k.startswith("quarantine/")} == calm


def worker_pids() -> list[int]:
    """Return the process ids of the living worker actors on this machine."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                title = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if title.startswith(b"ray::Worker"):
                found.append(int(folder.name))
    return found


@pytest.mark.parametrize(
    ("bad", "settings", "reason"),
    [
        ("{what: raise, shard: 5}", "", "exception: ValueError: told to"),
        ("{what: exit, shard: 5}", "", "crashed: exit code 3"),
        ("{what: hang, shard: 5}", ", task_timeout_s: 2", "timeout: no answer for 2 s"),
        ("{what: kill_parent, shard: 5}", "", "crashed: the worker's process died"),
    ],
)
def test_a_shard_that_fails_each_time_is_given_up_alone(
    ray_cluster: Cluster, pictures: Path, tmp_path: Path, bad: str, settings: str, reason: str
) -> None:
    """39 of 40 shards are written, three tries are charged, the reason is kept, the run goes on."""
    charges: list[Any] = []
    summary = run(
        tmp_path / "ds",
        pictures,
        f"{{bad: {bad}}}",
        lambda: RayRunner(ray_cluster.address),
        lambda event: charges.append(event) if event["event"] == "charge" else None,
        f"{{max_shard_rows: 2, workers: 3{settings}}}",
    )

    given_up = {name: step.quarantined for name, step in summary.steps.items() if step.quarantined}
    assert given_up == {"bad": {"shard-00000005": reason}}
    assert [event["try"] for event in charges] == [1, 2, 3]
    assert shards_of(tmp_path / "ds", "bad") == NUM_SHARDS - 1
    assert summary.exit_code == 1


def test_pools_larger_than_the_cluster_are_refused(
    ray_cluster: Cluster, pictures: Path, tmp_path: Path
) -> None:
    """What can never be had is refused with a sentence, before any shard is made."""
    stages = "{luma: {}, heavy: {run: {cpus: 3}}}"
    with pytest.raises(ResourceError, match="heavy.*do not fit.*4 CPU.*2 node") as caught:
        run(tmp_path / "ds", pictures, stages, lambda: RayRunner(ray_cluster.address))

    assert caught.value.exit_code == 2
    assert not (tmp_path / "ds" / "images").exists()


def test_a_lost_node_is_charged_to_nobody(
    ray_cluster: Cluster, pictures: Path, tmp_path: Path
) -> None:
    """A node is killed in mid-run; all shards are written without one charge."""
    node = ray_cluster.add_node(num_cpus=2, object_store_memory=100 << 20)
    ray_cluster.wait_for_nodes()
    lost: list[int] = []

    def lose_it(event: Event) -> None:
        rows = event["rows"].get("slow", 0) if event["event"] == "progress" else 0
        if rows >= 10 and not lost:
            lost.append(rows)
            ray_cluster.remove_node(node, allow_graceful=False)

    summary = run(
        tmp_path / "ds",
        pictures,
        "{slow: {seconds: 0.2}}",
        lambda: RayRunner(ray_cluster.address),
        lose_it,
        "{max_shard_rows: 2, workers: 6}",
    )

    assert lost
    assert lost[0] < 80, "the node was lost too late to matter"
    assert summary.exit_code == 0
    assert summary.facts["charges"] == 0
    assert shards_of(tmp_path / "ds", "slow") == NUM_SHARDS
