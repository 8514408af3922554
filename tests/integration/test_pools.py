"""Pools of workers that differ, on a real cluster: several shards in flight, parts of GPUs."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from curation.pipeline.local_runner import LocalRunner
from curation.pipeline.watch import Event
from jobs.ray_runner import RayRunner
from tests.fakes.runs import files_of, make_session, run

pytestmark = pytest.mark.slow

NUM_SHARDS = 20
PER_RUN = ("runs", "dataset.json", "quarantine")


@pytest.fixture(scope="module")
def taken_in(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset that has its image shards, and nothing else."""
    dataset = tmp_path_factory.mktemp("taken") / "in"
    assert run(make_session(dataset, pictures, {}, max_shard_rows=4)).complete
    return dataset


def run_on(cluster: Cluster, dataset: Path, stages: Any, **options: Any) -> Any:
    """Run a pipeline on a dataset that was taken in."""
    session = make_session(dataset, None, stages)
    return session.run(lambda: RayRunner(cluster.address), runner_name="ray", **options)


def shards_of(dataset: Path, instance: str) -> int:
    return len(list((dataset / instance).rglob("shard-*.parquet")))


def child_of_flights() -> list[int]:
    """Return the actors whose child has three places for tasks."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_bytes().split(b"\0")
                parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            except OSError:
                continue
            if b"curation.pipeline.child" in command and command[-2] == b"3":
                found.append(int(parent))
    return found


def test_three_in_flight_give_the_bytes_of_the_local_runner(
    ray_cluster: Cluster, taken_in: Path, tmp_path: Path
) -> None:
    """They are in hand at once, in an actor and in a local worker, and no file tells."""
    stages = {"engine": {"company": 3, "met": str(tmp_path / "met")}}
    for name in ("ray", "local"):
        shutil.copytree(taken_in, tmp_path / name)

    onray = run_on(ray_cluster, tmp_path / "ray", stages)
    assert (tmp_path / "met").exists()
    local = make_session(tmp_path / "local", None, stages).run(LocalRunner, runner_name="local")

    assert onray.complete
    assert local.complete
    assert onray.facts == {}
    found = files_of(tmp_path / "ray", without=PER_RUN)
    assert found == files_of(tmp_path / "local", without=PER_RUN)
    assert shards_of(tmp_path / "ray", "engine") == NUM_SHARDS


def test_a_killed_worker_with_three_in_hand_charges_nobody(
    ray_cluster: Cluster, taken_in: Path, tmp_path: Path
) -> None:
    """A person kills the actor: nobody knows over which shard it died, so each goes again alone."""
    shutil.copytree(taken_in, tmp_path / "ds")
    killed: list[int] = []
    charges: list[Event] = []

    def watch(event: Event) -> None:
        if event["event"] == "charge":
            charges.append(event)
        if event["event"] == "progress" and event["rows"].get("engine", 0) and not killed:
            killed.extend(child_of_flights())
            for pid in killed[:1]:
                os.kill(pid, signal.SIGKILL)

    stages = {"engine": {"pause_s": 0.6}}
    summary = run_on(ray_cluster, tmp_path / "ds", stages, on_event=watch)

    assert killed
    assert charges == []
    assert summary.complete
    assert shards_of(tmp_path / "ds", "engine") == NUM_SHARDS


def test_only_the_shard_that_kills_its_worker_is_given_up(
    ray_cluster: Cluster, taken_in: Path, tmp_path: Path
) -> None:
    """It takes two innocent ones with it once; after that it dies alone, three times."""
    shutil.copytree(taken_in, tmp_path / "ds")
    met = str(tmp_path / "met")

    stages = {"engine": {"what": "kill_parent", "shard": 1, "company": 3, "met": met}}
    summary = run_on(ray_cluster, tmp_path / "ds", stages)

    assert summary.steps["engine"].quarantined == {
        "shard-00000001": "crashed: the worker's process died"
    }
    assert summary.facts["charges"] == 3
    assert shards_of(tmp_path / "ds", "engine") == NUM_SHARDS - 1


def test_a_poison_row_in_flight_costs_that_row(
    ray_cluster: Cluster, taken_in: Path, tmp_path: Path
) -> None:
    """The supervisor inside the actor finds it, and no try is charged."""
    shutil.copytree(taken_in, tmp_path / "ds")

    stages = {"engine": {"what": "segfault", "key": "picture-copy"}}
    summary = run_on(ray_cluster, tmp_path / "ds", stages)

    assert summary.complete
    assert summary.steps["engine"].errors == {"crashed": 1}
    assert summary.facts == {"restarts": 3}
