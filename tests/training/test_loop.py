"""The loop: resumed to the bit, stopped before damage, the same on one rank or two."""

import json
import os
import shutil
import signal

import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing, nn
from torch.distributed.checkpoint.state_dict_loader import _load_state_dict_from_keys

from tests.fakes.ranks import on_ranks
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


def make_loop(
    folder,
    steps=8,
    *,
    every=4,
    since=0,
    rank=0,
    world_size=1,
    model=None,
    source=None,
    kind="adamw",
    **config,
):
    """Make a loop on the toy source that keeps its checkpoints and figures in `folder`."""
    model = model or shard_model(make_model(), torch.device("cpu"), "fp32")
    source = source or make_source(rank=rank, world_size=world_size, micro_size=2)
    return Loop(
        FlowObjective(FlowConfig(), model),
        source,
        LoopConfig(steps=steps, checkpoint_every=every, log_every=1, **config),
        {"model": OptimizerConfig(kind=kind, lr=1e-3, warmup_steps=3)},
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


def assert_same_tensors(first, second, step):
    """Compare all tensors of two checkpoints to the last bit."""
    one, other = tensors_of(first, step), tensors_of(second, step)
    assert one.keys() == other.keys()
    assert any("/ema/" in name for name in one)
    assert any("exp_avg" in name for name in one)
    for name, value in one.items():
        same = torch.equal(value, other[name]) if torch.is_tensor(value) else value == other[name]
        assert same, name


def assert_same(first, second, step):
    """Compare two checkpoints to the last bit, and what they say besides."""
    assert_same_tensors(first, second, step)
    states = [json.loads((f / f"step-{step:08d}/state.json").read_text()) for f in (first, second)]
    assert states[0] == states[1]


def figures(folder):
    return [{k: v for k, v in line.items() if k not in SPEEDS} for line in read_journal(folder)]


def drawing_model():
    """Make a model that, as a library might, draws from the generator in every step."""

    def draw(module, arguments):
        torch.rand(3)

    model = make_model()
    model.register_forward_pre_hook(draw)
    return model


def run_killed(folder, steps, every, stop_at):
    """Train in a process that is killed after a step."""
    torch.set_num_threads(1)
    loop = make_loop(folder, steps, every=every, model=drawing_model())

    def on_step(step):
        if step == stop_at:
            loop.checkpoints.wait()  # it is written while training goes on
            os.kill(os.getpid(), signal.SIGKILL)

    loop.run(on_step)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("steps", "every", "stop_at"),
    [(6, 3, 5), (8, 4, 7), (14, 7, 9), (18, 9, 10)],
    ids=["within an epoch", "across an epoch", "at an epoch's end", "with visits left over"],
)
def test_a_killed_run_goes_on_to_the_bit(tmp_path, steps, every, stop_at):
    """Weights, optimizer, averages, cursor, generators and figures are those of a run never killed.

    37 images in batches of 5 are 7 batches an epoch and 2 visits left over.
    """
    torch.set_num_threads(1)
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    make_loop(straight, steps, every=every, model=drawing_model()).run()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=run_killed, args=(killed, steps, every, stop_at))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert [line["step"] for line in read_journal(killed)] == [*range(1, stop_at + 1)]

    loop = make_loop(killed, steps, every=every, since=every, model=drawing_model())
    torch.manual_seed(1)
    loop.restore(every)
    loop.run()

    assert_same(straight, killed, steps)
    assert [line["step"] for line in figures(killed)] == [*range(1, steps + 1)]
    assert figures(straight) == figures(killed)


def resume_copy(whole, folder, rank=0, world_size=1, **changes):
    """Go on from a copy of the checkpoint of step 4, to step 8."""
    if rank == 0:
        shutil.copytree(whole / "step-00000004", folder / "step-00000004")
        shutil.copy(whole / "metrics.jsonl", folder)
    if world_size > 1:
        dist.barrier()
    loop = make_loop(folder, since=4, rank=rank, world_size=world_size, **changes)
    loop.restore(4)
    loop.run()


def work(rank, world_size, folder):
    """Train as one of several ranks: alone, resumed, and resumed from what one rank left."""
    where = {"rank": rank, "world_size": world_size}
    loop = make_loop(folder / "two", **where)
    torch.manual_seed(rank)
    loop.run()
    resume_copy(folder / "two", folder / "two_two", **where)
    resume_copy(folder / "one", folder / "one_two", **where)


def assert_close(first, second, step):
    """Compare two checkpoints of several numbers of ranks; their cursors to the bit."""
    one, other = tensors_of(first, step), tensors_of(second, step)
    shared = [name for name in one if "/generators/" not in name]
    assert set(shared) == {name for name in other if "/generators/" not in name}
    for name in shared:
        if torch.is_tensor(one[name]):
            torch.testing.assert_close(one[name], other[name], rtol=1e-4, atol=1e-5)
    states = [Checkpoints(str(folder)).state(step) for folder in (first, second)]
    assert states[0]["cursor"] == states[1]["cursor"]
    assert states[0]["roles"] == states[1]["roles"]
    for a, b in zip(figures(first), figures(second), strict=True):
        for name in ("model/loss", "model/grad_norm"):
            assert a[name] == pytest.approx(b[name], rel=1e-5)


@pytest.mark.slow
def test_two_ranks_do_what_one_does(tmp_path):
    """Sharded over two processes, with uneven shares and text lengths: losses within 1e-5.

    Resumed on two ranks a run of two is the same to the bit. What one left, two go on with, and the
    other way round: same batches, and weights, moments and averages that differ by rounding.
    """
    torch.set_num_threads(1)
    for name in ("two_two", "one_two", "two_one"):
        (tmp_path / name).mkdir()
    make_loop(tmp_path / "one").run()

    assert on_ranks(2, work, tmp_path) == [0, 0]
    resume_copy(tmp_path / "two", tmp_path / "two_one")

    assert_same(tmp_path / "two", tmp_path / "two_two", 8)
    assert figures(tmp_path / "two") == figures(tmp_path / "two_two")
    kept = tensors_of(tmp_path / "two", 8)
    seeds = [kept[f"/generators/rank-{n}/cpu"] for n in range(2)]
    assert not torch.equal(*seeds)
    for name in ("two", "one_two", "two_one"):
        assert_close(tmp_path / "one", tmp_path / name, 8)


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
