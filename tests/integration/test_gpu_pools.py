"""GPU stages fed by the CPU pool, on a cluster whose GPUs are only said to be there."""

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray.cluster_utils import Cluster

from curation.errors import ResourceError
from curation.pipeline.local_runner import LocalRunner
from curation.pipeline.summary import RunSummary
from curation.pipeline.watch import Event
from jobs import pool_sizes, worker_actor
from jobs.ray_runner import RayRunner
from jobs.worker_actor import fetch
from tests.fakes.runs import files_of, make_session

pytestmark = pytest.mark.slow

SHARD_ROWS = 4
NUM_SHARDS = 20
PER_RUN = ("runs", "dataset.json", "pipelines")
GLOW = {"size_px": 256}  # two views are more than the 100 kB that Ray keeps out of its store
STAGES = {"luma": {}, "glow": {**GLOW, "run": {"replicas": [1, 4]}}}


@pytest.fixture(scope="module")
def gpu_cluster(ray_cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with a third node, which has a core, a GPU and a lens."""
    node = ray_cluster.add_node(
        num_cpus=1, num_gpus=1, resources={"lens": 1}, object_store_memory=100 << 20
    )
    ray_cluster.wait_for_nodes()
    yield ray_cluster
    ray_cluster.remove_node(node)


class Watched(RayRunner):
    """Counts the workers of each pool while it runs."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.sizes: list[Counter[str]] = []

    def look(self, event: Event) -> None:
        """Take in how many there are now."""
        if event["event"] == "progress":
            living = [actor.pool.name for actor in self._actors.values() if actor.node]
            self.sizes.append(Counter(living))

    def largest(self, pool: str) -> int:
        return max(sizes[pool] for sizes in self.sizes)


def run_on(
    cluster: Cluster, dataset: Path, source: Path | None, stages: Any, **run: Any
) -> tuple[RunSummary, Watched]:
    """Run a pipeline on the cluster."""
    runner = Watched(cluster.address)
    session = make_session(
        dataset, source, stages, **{"max_shard_rows": SHARD_ROWS, "workers": 3, **run}
    )
    return session.run(lambda: runner, runner_name="ray", on_event=runner.look), runner


def run_here(dataset: Path, source: Path, stages: Any) -> dict[str, bytes]:
    """Run the same on this machine alone, without GPUs; return its files."""
    session = make_session(dataset, source, stages, max_shard_rows=SHARD_ROWS, device="cpu")
    assert session.run(LocalRunner, runner_name="local").complete
    return files_of(dataset, without=PER_RUN)


@pytest.fixture(scope="module")
def expected(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What every run of `luma` and `glow` must leave, however it went."""
    stages = {"luma": {}, "glow": {**GLOW, "run": {"replicas": 1}}}
    return run_here(tmp_path_factory.mktemp("here") / "local", pictures, stages)


def test_gpu_workers_see_what_the_cpu_pool_has_decoded(
    gpu_cluster: Cluster, pictures: Path, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    """Four share the GPU, most shards are fed, and no file tells how it was made."""
    trace = tmp_path / "trace"
    trace.mkdir()
    stages = {
        **STAGES,
        "glow": {
            **GLOW,
            "trace": str(trace),
            "pause_s": 0.3,
            "run": {"gpus": 0.25, "replicas": [1, 4]},
        },
    }

    summary, runner = run_on(gpu_cluster, tmp_path / "ray", pictures, stages)

    assert summary.complete
    assert summary.facts["charges"] == summary.facts["hindrances"] == 0
    assert summary.facts["fed"] + summary.facts["unfed"] == NUM_SHARDS
    assert summary.facts["fed"] > NUM_SHARDS // 2
    assert runner.largest("glow") == 4
    seen = [path.read_text() for path in trace.iterdir()]
    assert seen == ["cuda 0"] * 4
    assert files_of(tmp_path / "ray", without=PER_RUN) == expected


def test_where_only_the_gpu_stage_is_due_the_cpu_pool_decodes_for_it(
    gpu_cluster: Cluster, pictures: Path, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    """A scorer added to an old dataset: CPU workers have no task, and views to make.

    The GPU would hold four of its workers, the node's lens holds two.
    """
    running = {"replicas": [1, 4], "resources": {"lens": 0.5}}
    stages = {"luma": {}, "glow": {**GLOW, "pause_s": 0.2, "run": running}}
    run_here(tmp_path / "ray", pictures, {"luma": {}})

    summary, runner = run_on(gpu_cluster, tmp_path / "ray", None, stages)

    assert summary.complete
    assert list(summary.steps) == ["glow"]
    assert summary.facts["fed"] > NUM_SHARDS // 2
    assert summary.facts["fed"] + summary.facts["unfed"] == NUM_SHARDS
    assert runner.largest("cpu") >= 1
    assert runner.largest("glow") == 2
    assert files_of(tmp_path / "ray", without=PER_RUN) == expected


def test_packets_that_do_not_fit_are_not_made(
    gpu_cluster: Cluster, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each worker decodes by itself, as if there were no CPU pool."""
    monkeypatch.setattr("jobs.prefetch.STORE_SHARE", 1e-9)

    summary, _ = run_on(gpu_cluster, tmp_path / "ray", pictures, STAGES)

    assert summary.complete
    assert summary.facts == {"unfed": NUM_SHARDS}


def test_a_machine_without_gpus_runs_the_same_file(
    ray_cluster: Cluster, pictures: Path, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    """With `run.device: cpu`; without it, the refusal says so."""
    trace = tmp_path / "trace"
    trace.mkdir()
    stages = {"luma": {}, "glow": {**GLOW, "trace": str(trace), "run": {"gpus": 0.25}}}
    big = {"luma": {}, "glow": {"run": {"gpus": 2}}}
    with pytest.raises(ResourceError, match="glow: 1 worker.* 2 GPU each do not fit"):
        run_on(ray_cluster, tmp_path / "ray", pictures, big)

    summary, _ = run_on(ray_cluster, tmp_path / "ray", pictures, stages, device="cpu")

    assert summary.complete
    assert summary.facts == {}
    assert {path.read_text().split()[0] for path in trace.iterdir()} == {"cpu"}
    assert files_of(tmp_path / "ray", without=PER_RUN) == expected


def test_a_pool_shrinks_when_its_work_is_done(
    gpu_cluster: Cluster, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Down to its smallest size, while others still have work."""
    monkeypatch.setattr(pool_sizes, "WARM_S", 1.0)
    stages = {
        "luma": {},
        "glow": {**GLOW, "pause_s": 0.3, "run": {"replicas": [1, 4]}},
        "shy": {"seconds": 0.4},
    }

    summary, runner = run_on(gpu_cluster, tmp_path / "ray", pictures, stages)

    assert summary.complete
    assert runner.largest("glow") == 4
    assert runner.sizes[-1]["glow"] == 1


def test_two_shards_in_flight_overlap_on_a_gpu(
    gpu_cluster: Cluster, pictures: Path, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    """Packets come to a worker that has another shard in hand; the bytes are the same."""
    stages = {
        "luma": {},
        "glow": {
            **GLOW,
            "pause_s": 0.1,
            "run": {"replicas": 1, "gpus": 1, "shards_in_flight": 2},
        },
    }

    summary, runner = run_on(gpu_cluster, tmp_path / "ray", pictures, stages)

    assert summary.complete
    assert runner.largest("glow") == 1
    assert summary.facts["fed"] > NUM_SHARDS // 2
    assert files_of(tmp_path / "ray", without=PER_RUN) == expected


def test_a_lost_packet_is_decoded_again(
    ray_cluster: Cluster, pictures: Path, tmp_path: Path, expected: dict[str, bytes]
) -> None:
    """The node that made packets is killed: nobody is charged, and no byte differs."""
    gpu = ray_cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=100 << 20)
    maker = ray_cluster.add_node(num_cpus=4, object_store_memory=100 << 20)
    ray_cluster.wait_for_nodes()
    stages = {"luma": {}, "glow": {**GLOW, "pause_s": 0.4, "run": {"gpus": 1, "replicas": 1}}}
    runner = Watched(ray_cluster.address)
    lost: list[int] = []

    def look(event: Event) -> None:
        """Kill the node once packets lie there that nobody has taken."""
        if event["event"] == "progress" and not lost:
            there = [p for p in runner._prefetch._packets.values() if p.node == maker.node_id]
            if any(p.reference is not None and not p.is_taken for p in there):
                lost.append(len(there))
                ray_cluster.remove_node(maker, allow_graceful=False)

    session = make_session(tmp_path / "ray", pictures, stages, max_shard_rows=SHARD_ROWS, workers=8)
    try:
        summary = session.run(lambda: runner, runner_name="ray", on_event=look)
    finally:
        ray_cluster.remove_node(gpu)

    assert lost
    assert summary.complete
    assert summary.facts["charges"] == 0
    assert summary.facts["fed"] + summary.facts["unfed"] == NUM_SHARDS
    assert files_of(tmp_path / "ray", without=PER_RUN) == expected


class Maker:
    """Makes an array, or hangs."""

    def make(self) -> Any:
        return np.arange(200_000, dtype=np.uint8)

    def hang(self) -> None:
        time.sleep(3600)


def test_a_packet_that_does_not_come_is_none(
    ray_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker goes on without it; one that comes is a file."""
    monkeypatch.setattr(worker_actor, "_FETCH_S", 3.0)
    maker: Any = ray.remote(Maker).options(num_cpus=0).remote()
    descriptor = fetch(maker.make.remote())
    assert descriptor is not None
    assert os.fstat(descriptor).st_size == 200_000
    os.close(descriptor)

    assert fetch(maker.hang.remote()) is None
    ray.kill(maker)
