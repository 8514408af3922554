"""Training under Ray Train on a real cluster of two nodes, and what it does when processes die."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import ray
import torch

from curation.errors import ResourceError, UsageError
from jobs.training import train_on_ray
from tests.training.conftest import corpus, recipe  # noqa: F401 (fixtures)
from training.checkpoint import Checkpoints
from training.journal import read_journal
from training.recipe import parse_recipe
from training.run import train

pytestmark = pytest.mark.slow

LONG = {"steps": 80, "checkpoint_every": 10, "log_every": 1}


@pytest.fixture
def parsed(recipe, tmp_path):  # noqa: F811
    """Return what makes the recipe of a short run on two processes, with changes."""

    def make(name, *overrides, **changes):
        text = recipe(
            output=str(tmp_path / name), evaluation={"every": 1000, "images": 0}, **changes
        )
        settings = ("workers.count=2", "workers.gpus=0", *overrides)
        return parse_recipe(text, "toy.yaml", settings)

    return make


def losses(folder):
    """Return every loss of a run."""
    return [line["model/loss"] for line in read_journal(folder) if "model/loss" in line]


def tensors(folder, step):
    """Return the bytes of every tensor file of a checkpoint."""
    found = sorted((folder / f"step-{step:08d}/tensors").glob("*.distcp"))
    return {path.name: path.read_bytes() for path in found}


def train_workers():
    """Return the process ids of Ray Train's workers below this process."""
    parents, found = {}, []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().partition("(")[2].rpartition(")")
        except FileNotFoundError:
            continue  # it ended meanwhile
        pid = int(path.parent.name)
        parents[pid] = int(rest.split()[1])
        if name.startswith("ray::RayTrainW"):
            found.append(pid)
    return [pid for pid in found if is_below(pid, parents)]


def is_below(pid, parents):
    """Say whether a process descends from this one."""
    while pid in parents and pid != os.getpid():
        pid = parents[pid]
    return pid == os.getpid()


def test_a_killed_process_costs_the_steps_since_the_last_checkpoint(ray_cluster, parsed, tmp_path):
    """Two processes lose as one does; killed in the middle, they end with the same bytes."""
    torch.set_num_threads(1)
    train(parsed("one", "loop.steps=6"), device=torch.device("cpu"))
    straight = train_on_ray(parsed("straight", loop=LONG))
    said: list[str] = []
    checkpoints = Checkpoints(str(tmp_path / "killed"))

    def kill_one():
        while not checkpoints.steps():
            time.sleep(0.02)
        os.kill(train_workers()[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    end = train_on_ray(parsed("killed", loop=LONG), say=said.append)
    killer.join()

    assert losses(tmp_path / "straight")[:6] == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    assert (straight.step, straight.exit_code, end.step, end.exit_code) == (80, 0, 80, 0)
    (line,) = said
    assert "going on from step" in line
    assert losses(tmp_path / "killed") == losses(tmp_path / "straight")
    assert tensors(tmp_path / "killed", 80) == tensors(tmp_path / "straight", 80)
    again = train_on_ray(parsed("killed", loop=LONG), resume=True)
    assert again.was_finished
    assert again.lines() == [f"finished already, at step 80: {tmp_path / 'killed'}"]


def test_a_signal_ends_a_run_with_a_checkpoint(ray_cluster, parsed, tmp_path):
    """The driver passes the signal on; the run goes on from there, also with fewer processes."""

    def interrupt(step, figures):
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    stopped = train_on_ray(parsed("run", loop=LONG), hear=interrupt)

    assert stopped.exit_code == 128 + signal.SIGTERM
    assert Checkpoints(str(tmp_path / "run")).steps()[-1] == stopped.step < 80
    assert "go on with --resume" in stopped.lines()[0]
    assert signal.getsignal(signal.SIGTERM) == before
    steps = f"loop.steps={stopped.step + 2}"
    end = train_on_ray(parsed("run", steps, "workers.count=1", loop=LONG), resume=True)
    assert end.step == stopped.step + 2
    assert end.exit_code == 0


def test_what_no_restart_mends_is_said_once(ray_cluster, parsed, tmp_path):
    """A loss that is no number ends the run at the first try, with the trainer's own sentence."""
    from training.guard import TrainingStoppedError

    said: list[str] = []
    with pytest.raises(TrainingStoppedError, match="the loss is"):
        train_on_ray(parsed("run", "optimizer.lr=1e30"), say=said.append)

    assert said == []


def test_a_lost_node_leaves_fewer_processes(ray_cluster, parsed, tmp_path):
    """They go on with what is left, where that is allowed; with the same batches and draws."""
    nodes = [
        ray_cluster.add_node(num_cpus=1, object_store_memory=80 << 20, resources={"trainer": 1})
        for _ in range(2)
    ]
    said: list[str] = []

    def lose(step, figures):
        if len(nodes) == 2 and Checkpoints(str(tmp_path / "run")).steps():
            ray_cluster.remove_node(nodes.pop())

    settings = ("workers.least=1", "workers.resources={trainer: 1}", "workers.start_timeout_s=20")
    end = train_on_ray(parsed("run", *settings, loop=LONG), hear=lose, say=said.append)
    ray_cluster.remove_node(nodes.pop())

    assert (end.step, end.exit_code) == (80, 0)
    assert "1 of 2 workers fit on the machines that are left" in said
    assert len(losses(tmp_path / "run")) == 80


def test_a_busy_cluster_is_waited_for_and_refused(ray_cluster, parsed):
    """It could hold the processes, but others use it: not for ever."""
    busy: Any = ray.remote(num_cpus=2)(Busy)
    others = [busy.remote() for _ in range(2)]
    ray.get([other.is_there.remote() for other in others])
    try:
        with pytest.raises(ResourceError, match=r"others use the cluster .* waited 2 s"):
            train_on_ray(parsed("run", "workers.start_timeout_s=2"))
    finally:
        for other in others:
            ray.kill(other)


class Busy:
    """Holds what it was given."""

    def is_there(self):
        return True


def test_a_cluster_without_room_is_refused(ray_cluster, parsed):
    """At once, where it can never hold the processes."""
    with pytest.raises(ResourceError, match=r"room for 4, with 4 CPU and 0 GPU on 2 node\(s\)"):
        train_on_ray(parsed("run", "workers.count=5"))
    with pytest.raises(ResourceError, match=r"compute on cores: --set workers.gpus=0"):
        train_on_ray(parsed("run", "workers.gpus=1"))


def test_an_output_that_not_all_share_is_refused(ray_cluster, parsed):
    """Each process writes its part of a checkpoint: what one does not see, none must write to."""
    with pytest.raises(UsageError, match="name an output that all nodes share"):
        train_on_ray(parsed("run", "output=memory://train"))
