"""Optimizers: rates, and moments of one byte that a checkpoint keeps to the bit."""

import json
import os
import shutil
import signal

import pytest
import torch
from torch import multiprocessing, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from curation.errors import UsageError
from tests.fakes.ranks import on_ranks
from tests.training.test_loop import assert_same, figures, make_loop, tensors_of
from training.optimizers import OptimizerConfig, make_optimizer, set_rate


@pytest.fixture
def uncompiled():
    """Have torchao's step computed as it is written: compiling it takes most of a minute."""
    with torch.compiler.set_stance("force_eager"):
        yield


def step_with(optimizer, module, seed):
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    optimizer.step()


def test_moments_of_a_byte_step_as_those_of_four_do(uncompiled):
    """Two optimizers with the same gradients, rates and decay go nearly the same way."""
    moved = []
    for kind in ("adamw", "adamw_8bit"):
        torch.manual_seed(0)
        module = nn.Linear(64, 64)
        before = module.weight.detach().clone()
        config = OptimizerConfig(kind=kind, lr=1e-2, weight_decay=0.1)
        optimizer = make_optimizer(config, module)
        for number in range(20):
            set_rate(optimizer, 1e-2 / (1 + number))
            step_with(optimizer, module, number)
        moved.append(module.weight.detach() - before)
        kinds = {type(state["exp_avg"]).__name__ for state in optimizer.state.values()}
        assert ("OptimState8bit" in kinds) == (kind == "adamw_8bit")
        assert float(optimizer.param_groups[0]["lr"]) == pytest.approx(1e-2 / 20)

    apart = (moved[0] - moved[1]).norm() / moved[0].norm()
    assert 0 < apart < 0.05


@pytest.mark.parametrize("kind", ["adamw", "adamw_8bit"])
def test_a_rate_of_nothing_moves_nothing(uncompiled, kind):
    """The rate of a group is the one that was set, compiled or not."""
    module = nn.Linear(64, 64)
    before = module.weight.detach().clone()
    optimizer = make_optimizer(OptimizerConfig(kind=kind), module)

    set_rate(optimizer, 0.0)
    step_with(optimizer, module, 0)
    assert torch.equal(module.weight, before)

    set_rate(optimizer, 1e-2)
    step_with(optimizer, module, 1)
    assert not torch.equal(module.weight, before)


class Small(nn.Module):
    """A model of two shapes, so that compiling is quick."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.mix = nn.Linear(16 * 16, 16 * 16)

    def forward(self, latent, sigma, text, lens):
        return self.mix(latent.flatten(1)).view_as(latent)


def test_moments_of_a_byte_are_kept_to_the_bit(uncompiled, tmp_path):
    """A checkpoint holds codes and scales; resumed, the run is that which never stopped."""
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    make_loop(straight, model=Small(), kind="adamw_8bit").run()
    shutil.copytree(straight / "step-00000004", resumed / "step-00000004")
    loop = make_loop(resumed, model=Small(), kind="adamw_8bit")
    loop.restore(4)
    loop.run()

    assert_same(straight, resumed, 8)
    assert figures(straight)[4:] == figures(resumed)
    kept = tensors_of(straight, 8)
    codes = [value for name, value in kept.items() if name.endswith("exp_avg/rank-0/codes")]
    assert [(value.dtype, value.shape) for value in codes] == [(torch.uint8, (256, 256))]
    assert any(name.endswith("mix.bias/exp_avg/rank-0/values") for name in kept)


def run_killed(folder):
    """Train in a process that is killed after step 6."""
    torch.set_num_threads(1)
    loop = make_loop(folder, model=Small(), kind="adamw_8bit")

    def on_step(step):
        if step == 6:
            loop.checkpoints.wait()
            os.kill(os.getpid(), signal.SIGKILL)

    loop.run(on_step)


@pytest.mark.slow
def test_a_killed_run_with_compiled_steps_goes_on_to_the_bit(tmp_path):
    """Compiled, as it is in use: N steps, kill -9 and N more are 2N steps."""
    torch.set_num_threads(1)
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    make_loop(straight, model=Small(), kind="adamw_8bit").run()
    process = multiprocessing.get_context("spawn").Process(target=run_killed, args=(killed,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL

    loop = make_loop(killed, since=4, model=Small(), kind="adamw_8bit")
    loop.restore(4)
    loop.run()

    assert_same(straight, killed, 8)
    assert figures(straight) == figures(killed)
    assert any(name.endswith("/codes") for name in tensors_of(straight, 8))


def work(rank, world_size, folder):
    """Train as one of two ranks, then again from the middle."""
    where = {"rank": rank, "world_size": world_size, "kind": "adamw_8bit"}
    with torch.compiler.set_stance("force_eager"):
        make_loop(folder / "straight", **where).run()
        make_loop(folder / "resumed", 4, **where).run()
        loop = make_loop(folder / "resumed", since=4, **where)
        loop.restore(4)
        loop.run()


@pytest.mark.slow
def test_moments_of_a_byte_belong_to_their_ranks(uncompiled, tmp_path):
    """Two ranks resume to the bit; another number of them is refused before anything is read."""
    assert on_ranks(2, work, tmp_path) == [0, 0]

    assert_same(tmp_path / "straight", tmp_path / "resumed", 8)
    names = tensors_of(tmp_path / "straight", 8)
    assert {name.split("/")[-2] for name in names if name.endswith("/codes")} == {
        "rank-0",
        "rank-1",
    }
    with pytest.raises(UsageError) as caught:
        make_loop(tmp_path / "straight", kind="adamw_8bit").restore(8)
    assert "step 8 was made by 2 processes with optimizer.kind adamw_8bit" in str(caught.value)
    assert "resume with 2, or export it" in str(caught.value)
    state = json.loads((tmp_path / "straight/step-00000008/state.json").read_text())
    assert state["world_size"] == 2


def uneven():
    """Make two layers; of the first one's weight two ranks have 64 and 63 rows."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(128, 127), nn.Linear(127, 64))


def step_uneven(module):
    """Step three times with the same gradients, whoever holds them; return what did it."""
    optimizer = make_optimizer(OptimizerConfig(kind="adamw_8bit"), module)
    for number in range(3):
        optimizer.zero_grad()
        generator = torch.Generator().manual_seed(number)
        module(torch.randn(8, 128, generator=generator)).square().mean().backward()
        set_rate(optimizer, 1e-3 / (1 + number))
        optimizer.step()
    return optimizer


def work_uneven(rank, world_size, folder):
    """Step as one of two ranks, and leave the weights."""
    module = uneven()
    fully_shard(module, mesh=init_device_mesh("cpu", (world_size,)))
    kept = step_uneven(module).tensors(module)
    moment = kept["0.weight"]["exp_avg"][f"rank-{rank}"]
    shapes = {key: tuple(value.shape) for key, value in moment.items() if key != "qmap"}
    weights = {name: p.detach().full_tensor() for name, p in module.named_parameters()}
    torch.save((shapes, weights), folder / f"{rank}.pt")


@pytest.mark.slow
def test_compiled_steps_take_uneven_shards(tmp_path):
    """Two ranks with shards of 64 and 63 rows move as one does, but for where blocks end."""
    module = uneven()
    step_uneven(module)

    assert on_ranks(2, work_uneven, tmp_path) == [0, 0]

    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    first, second = (shapes for shapes, _ in found)
    assert first == {"codes": (64, 128), "scale": (32,)}
    assert second == {"values": (63, 128)}  # 31 blocks and a half
    start = dict(uneven().named_parameters())
    for name, parameter in module.named_parameters():
        for _, weights in found:
            moved = (parameter - start[name]).norm()
            assert (weights[name] - parameter).norm() < 0.02 * moved
