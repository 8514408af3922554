"""The loop: resumed to the bit, stopped before damage, the same on one rank or two."""

import json
import shutil

import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing, nn
from torch.distributed.checkpoint.state_dict_loader import _load_state_dict_from_keys

from tests.fakes.toys import make_model, make_source
from training.checkpoint import Checkpoints
from training.data.memory import MemorySource
from training.data.plan import BatchConfig
from training.figures import SPEEDS
from training.guard import WARMING_STEPS, TrainingStoppedError
from training.journal import Journal, read_journal
from training.loop import Loop, LoopConfig
from training.objectives.flow import FlowConfig, FlowObjective
from training.optimizers import OptimizerConfig, rate
from training.sharding import shard_model


def make_loop(folder, steps=8, *, since=0, rank=0, world_size=1, model=None, source=None, **config):
    """Make a loop on the toy source that keeps its checkpoints and figures in `folder`."""
    model = model or shard_model(make_model(), torch.device("cpu"), "fp32")
    source = source or make_source(rank=rank, world_size=world_size, micro_size=2)
    return Loop(
        FlowObjective(FlowConfig(), model),
        source,
        LoopConfig(steps=steps, checkpoint_every=4, log_every=1, **config),
        {"model": OptimizerConfig(lr=1e-3, warmup_steps=3)},
        checkpoints=Checkpoints(str(folder)),
        journal=Journal(folder if rank == 0 else None, since),
    )


def tensors_of(folder, step):
    """Return every tensor of a checkpoint by its full name."""
    found = {}

    def walk(value, name):
        if isinstance(value, dict):
            for key, part in value.items():
                walk(part, f"{name}/{key}")
        else:
            found[name] = value

    walk(_load_state_dict_from_keys(checkpoint_id=f"{folder}/step-{step:08d}/tensors"), "")
    return found


def assert_same(first, second, step):
    """Compare two checkpoints to the last bit, and what they say besides."""
    one, other = tensors_of(first, step), tensors_of(second, step)
    assert one.keys() == other.keys()
    assert any("/ema/" in name for name in one)
    assert any("exp_avg" in name for name in one)
    for name, value in one.items():
        same = torch.equal(value, other[name]) if torch.is_tensor(value) else value == other[name]
        assert same, name
    states = [json.loads((f / f"step-{step:08d}/state.json").read_text()) for f in (first, second)]
    assert states[0] == states[1]


def figures(folder):
    return [{k: v for k, v in line.items() if k not in SPEEDS} for line in read_journal(folder)]


def run_killed(folder, stop_at):
    """Train in a process that ends without a word after a step."""
    import os

    torch.set_num_threads(1)
    loop = make_loop(folder)

    def on_step(step):
        if step == stop_at:
            loop.checkpoints.wait()  # it is written while training goes on
            os._exit(9)

    loop.run(on_step)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.slow
@pytest.mark.parametrize("stop_at", [5, 7])
def test_a_killed_run_goes_on_to_the_bit(tmp_path, stop_at):
    """Weights, optimizer, averages, cursor, draws and figures are those of a run never stopped.

    37 images in batches of 5: step 8 takes images of the next epoch.
    """
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    make_loop(straight).run()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=run_killed, args=(killed, stop_at))
    process.start()
    process.join()
    assert process.exitcode == 9

    loop = make_loop(killed, since=4)
    loop.restore(4)
    loop.run()

    assert_same(straight, killed, 8)
    assert figures(straight) == figures(killed)


def work(rank, world_size, folder, port):
    """Train as one of several ranks."""
    import os

    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=world_size)
    make_loop(folder, rank=rank, world_size=world_size).run()
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_do_what_one_does(tmp_path):
    """Sharded over two processes, with uneven shares and text lengths: losses within 1e-5.

    A checkpoint of two ranks is read by one, which goes on with the same global batches.
    """
    one, two = tmp_path / "one", tmp_path / "two"
    make_loop(one).run()
    context = multiprocessing.get_context("spawn")
    ranks = [context.Process(target=work, args=(rank, 2, two, 29617)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
        assert process.exitcode == 0

    for a, b in zip(figures(one), figures(two), strict=True):
        for name in ("model/loss", "model/grad_norm"):
            assert a[name] == pytest.approx(b[name], rel=1e-5)
    again = tmp_path / "again"
    shutil.copytree(two, again)
    shutil.rmtree(again / "step-00000008")
    loop = make_loop(again, since=4)
    loop.restore(4)
    loop.run()
    for a, b in zip(figures(one)[4:], figures(again)[4:], strict=True):
        assert a["model/loss"] == pytest.approx(b["model/loss"], rel=1e-5)
    assert loop.checkpoints.state(8)["cursor"] == Checkpoints(str(one)).state(8)["cursor"]


class Breaking(nn.Module):
    """Becomes something else than a number at one step."""

    def __init__(self, at, value):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self._left, self._value = at, value

    def forward(self, latent, sigma, text, lens):
        self._left -= 1
        return self.weight + latent * (self._value if self._left == 0 else 1.0)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (float("nan"), r"the loss is nan .* own loss is no number, of 5: [0-9a-f]{32} \("),
        (float("inf"), r"the loss is inf .* own loss is no number, of 5: [0-9a-f]{32} \("),
        (100.0, r"times the recent .* the largest loss first: [0-9a-f]{32} \(loss "),
    ],
)
def test_a_broken_step_changes_nothing(tmp_path, value, sentence):
    """No number, or a loss out of all proportion: the run ends before anything is changed.

    What it had then is what a run that ends with the step before has, to the last bit; the journal
    says why, and names every image of the batch.
    """
    states = []
    for steps, at in ((WARMING_STEPS + 4, WARMING_STEPS + 4), (WARMING_STEPS + 3, 0)):
        folder = tmp_path / str(at)
        loop = make_loop(folder, steps, model=Breaking(at, value), source=make_source())
        if at:
            with pytest.raises(TrainingStoppedError, match=sentence) as caught:
                loop.run()
        else:
            loop.run()
        assert loop.step == WARMING_STEPS + 3
        loop.save()
        loop.checkpoints.wait()
        states.append(folder)

    assert_same(states[0], states[1], WARMING_STEPS + 3)
    stop = read_journal(states[0])[-1]
    assert (stop["step"], stop["event"]) == (WARMING_STEPS + 4, "stopped")
    assert stop["reason"] == str(caught.value)
    assert "nothing was changed" in stop["reason"]
    assert len({sample["image_id"] for sample in stop["samples"]}) == 5


def test_a_checkpoint_ends_a_line(tmp_path):
    """So the lines of a run that goes on from it are those of one that was left alone."""
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    for folder in (straight, stopped):
        loop = make_loop(folder)
        loop._config = loop._config.model_copy(update={"log_every": 3})
        loop.run()
    again = make_loop(stopped, since=4)
    again._config = loop._config
    again.restore(4)
    again.run()

    assert [line["step"] for line in figures(straight)] == [3, 4, 6, 8]
    assert figures(straight) == figures(stopped)
    assert [line["samples"] for line in figures(stopped)] == [15, 20, 30, 40]


def test_only_complete_checkpoints_count(tmp_path):
    """A folder without its last file is nothing, and is written anew."""
    make_loop(tmp_path).run()
    (tmp_path / "step-00000008/complete.json").unlink()

    checkpoints = Checkpoints(str(tmp_path))

    assert checkpoints.steps() == [4]
    loop = make_loop(tmp_path)
    loop.restore(4)
    loop.run()
    assert checkpoints.steps() == [4, 8]


def test_old_checkpoints_are_forgotten(tmp_path):
    """The last two of four stay."""
    loop = make_loop(tmp_path, steps=16)
    loop.checkpoints = Checkpoints(str(tmp_path), keep_last=2)
    loop.run()

    assert sorted(p.name for p in tmp_path.glob("step-*")) == ["step-00000012", "step-00000016"]


@pytest.mark.slow
def test_the_loss_falls(tmp_path):
    """Four latents are soon known by heart."""
    generator = torch.Generator().manual_seed(0)
    latent = torch.randn(4, 16, 4, 4, generator=generator)
    text = torch.eye(8)[:4, None]
    ones = torch.ones(4, dtype=torch.long)
    source = MemorySource(
        latent, text, ones, torch.zeros(1, 8), batch=BatchConfig(size=32), seed=0, dropout=0
    )
    loop = make_loop(tmp_path, steps=60, source=source)
    loop.run()

    losses = [line["model/loss"] for line in figures(tmp_path)]
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])


def test_rates_rise_and_fall():
    """A warm-up, then a constant or half a cosine down to a tenth."""
    constant = OptimizerConfig(lr=1.0, warmup_steps=4)
    cosine = OptimizerConfig(lr=1.0, warmup_steps=4, schedule="cosine")

    assert [rate(constant, n, 100) for n in (0, 1, 3, 4, 99)] == [0.25, 0.5, 1.0, 1.0, 1.0]
    assert rate(cosine, 4, 104) == 1.0
    assert rate(cosine, 54, 104) == pytest.approx(0.55)
    assert rate(cosine, 104, 104) == pytest.approx(0.1)
