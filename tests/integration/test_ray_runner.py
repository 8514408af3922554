"""The Ray runner on a real cluster of two nodes: same bytes, and what it does when things die."""

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from curation.dataset import Dataset
from curation.errors import ResourceError
from curation.pipeline.config import parse_pipeline
from curation.pipeline.dispatch import Dispatch, StepEnd
from curation.pipeline.local_runner import LocalRunner
from curation.pipeline.runner import Feed, Runner
from curation.pipeline.session import Session
from curation.pipeline.summary import RunSummary
from curation.pipeline.tasks import Task, WorkerSpec
from curation.pipeline.watch import Event
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


def test_a_shard_that_hinders_every_worker_is_given_up(
    ray_cluster: Cluster, pictures: Path, tmp_path: Path
) -> None:
    """Workers rest, do the others meanwhile, and the run ends with all but this one done."""
    stages = "{luma: {}, bad: {what: refused, shard: 1}}"

    summary = run(tmp_path / "ds", pictures, stages, lambda: RayRunner(ray_cluster.address))

    assert summary.exit_code == 1
    assert list(summary.steps["bad"].quarantined) == ["shard-00000001"]
    assert summary.facts["charges"] == 3
    assert shards_of(tmp_path / "ds", "bad") == NUM_SHARDS - 1


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
        ("{what: hang, shard: 5}", ", task_timeout_s: 5", "timeout: no answer for 5 s"),
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


def test_a_full_cluster_has_room_for_a_stage_with_its_own_pool(
    ray_cluster: Cluster, pictures: Path, tmp_path: Path
) -> None:
    """The fused stages may take every core, and `heavy` waits for them, yet it runs beside them."""
    beside: list[int] = []

    def look(event: Event) -> None:
        if event["event"] == "progress" and event["rows"].get("slow", 0) < 80:
            beside.append(event["rows"].get("heavy", 0))

    summary = run(
        tmp_path / "ds",
        pictures,
        "{luma: {}, slow: {seconds: 0.5}, heavy: {}}",
        lambda: RayRunner(ray_cluster.address),
        look,
        "{max_shard_rows: 2}",
    )

    assert summary.exit_code == 0
    assert max(beside) > 0
    assert shards_of(tmp_path / "ds", "heavy") == NUM_SHARDS
    assert summary.facts["charges"] == 0


class Waves:
    """Hands waves of tasks to one runner, on a dataset that has been ingested."""

    def __init__(self, dataset: Path, source: Path, stages: str, runner: RayRunner) -> None:
        run(dataset, source, "{luma: {}}", LocalRunner, settings="{max_shard_rows: 2}")
        text = f"name: test\ndataset: {dataset}\nstages: {stages}\n"
        self.session = Session(parse_pipeline(text, "test.yaml"), text, STAGES)
        instances = self.session.instances(Dataset.open(str(dataset)))
        self.spec = WorkerSpec(str(dataset), instances, None, 60.0, 60.0)
        self.pools = self.session.pools(instances)
        self.runner = runner
        self.charges: list[object] = []
        self.ends: list[str] = []

    def run(
        self,
        tasks: Iterable[Task],
        later: Callable[[threading.Event], Iterator[Task]] | None = None,
    ) -> None:
        """Run tasks; those of `later` come once its event, set when four run, lets them."""
        dispatch = Dispatch(
            self.spec.dependants,
            lambda step, name: [],
            lambda *charge: self.charges.append(charge),
            self.ended,
        )
        for task in tasks:
            dispatch.add(task)
        is_full = threading.Event()

        def tick() -> None:
            if dispatch.count("cpu")["running"] >= 4:
                is_full.set()

        feed = None if later is None else Feed(later(is_full))
        self.runner.check(self.pools)
        self.runner.run(self.spec, self.pools, dispatch, feed, tick)

    def ended(self, end: StepEnd) -> None:
        assert end.outcome == "done"
        self.ends.append(end.step)


def shard_tasks(step: str, shards: Iterable[int], pool: str = "cpu") -> list[Task]:
    return [Task("shard", f"shard-{n:08d}", (step,), n, pool=pool, num_rows=2) for n in shards]


def test_busy_workers_make_room_for_a_pool_that_gets_work_late(
    ray_cluster: Cluster, pictures: Path, tmp_path: Path
) -> None:
    """One of the four that fill the cluster ends after its calls, and nothing is charged."""
    runner = RayRunner(ray_cluster.address)
    waves = Waves(tmp_path / "ds", pictures, "{luma: {}, slow: {seconds: 0.5}, heavy: {}}", runner)

    def later(is_full: threading.Event) -> Iterator[Task]:
        assert is_full.wait(60)
        yield from shard_tasks("heavy", range(4), "heavy")

    try:
        waves.run(shard_tasks("slow", range(NUM_SHARDS)), later)
    finally:
        runner.close()

    assert sorted(waves.ends) == ["heavy"] * 4 + ["slow"] * NUM_SHARDS
    assert "heavy" in waves.ends[:-8], "it ran while the others had tasks left"
    assert waves.charges == []


def test_a_worker_that_dies_idle_charges_nobody(
    ray_cluster: Cluster, pictures: Path, tmp_path: Path
) -> None:
    """All workers are killed between two waves; the calls that find them dead had not begun."""
    runner = RayRunner(ray_cluster.address)
    waves = Waves(tmp_path / "ds", pictures, "{luma: {}, slow: {seconds: 0.01}}", runner)

    try:
        waves.run(shard_tasks("slow", range(8)))
        killed = worker_pids()
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        waves.run(shard_tasks("slow", range(8, NUM_SHARDS)))
    finally:
        runner.close()

    assert killed
    assert waves.ends == ["slow"] * NUM_SHARDS
    assert waves.charges == []


DRIVER = """
import sys
from pathlib import Path

sys.path.append(sys.argv[1])  # no variable, no folder of ours: only this process knows

from curation.pipeline.config import parse_pipeline
from curation.pipeline.session import Session
from jobs.ray_runner import RayRunner
from tests.fakes import STAGES

if __name__ == "__main__":
    text = Path("pipeline.yaml").read_text()
    session = Session(parse_pipeline(text, "pipeline.yaml"), text, STAGES)
    sys.exit(session.run(lambda: RayRunner("local"), runner_name="ray").exit_code)
"""


def test_actors_of_a_local_ray_import_what_the_driver_imports(
    pictures: Path, tmp_path: Path
) -> None:
    """A driver somewhere else, which alone knows where the stages come from."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "driver.py").write_text(DRIVER)
    (elsewhere / "pipeline.yaml").write_text(
        f"name: test\ndataset: {tmp_path / 'ds'}\nsource: {{name: lake, roots: [{pictures}]}}\n"
        "run: {max_shard_rows: 20, workers: 1}\nstages: {luma: {}}\n"
    )
    root = Path(__file__).parents[2]
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "RAY_ADDRESS")}
    with tempfile.TemporaryDirectory(prefix="lt-ray-", dir="/tmp", ignore_cleanup_errors=True) as d:
        ended = subprocess.run(
            [sys.executable, "driver.py", str(root)],
            cwd=elsewhere,
            env={**environment, "RAY_TMPDIR": d},
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )

    assert ended.returncode == 0, ended.stderr[-3000:]
    assert shards_of(tmp_path / "ds", "luma") == 4
