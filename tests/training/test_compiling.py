"""Compiled blocks: the same numbers, and no compiling once training goes on."""

import shutil

import pytest
import torch
import torch.distributed as dist
from torch._dynamo.utils import counters

from curation.errors import UsageError
from tests.fakes.toys import CHANNELS, WIDTH, make_model
from tests.training.test_sharding import gradients
from training.compiling import compile_blocks
from training.compute import ComputeConfig
from training.data.buckets import scaled_buckets
from training.sharding import prepare

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def fresh():
    """Forget what was compiled before; leave no group of processes behind."""
    torch._dynamo.reset()
    counters.clear()
    yield
    if dist.is_initialized():
        dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling for a CPU needs g++")
def test_compiled_blocks_compute_the_same():
    """Loss and gradients within 1e-5 of those of the same model as it is."""
    expected = gradients(make_model())
    model = prepare(make_model(), CPU, ComputeConfig(compile=True, activation_checkpointing=True))

    found = gradients(model)

    assert torch.allclose(found[0], expected[0], rtol=1e-5)
    assert found[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        distance = (found[1][name] - gradient).abs().max()
        assert float(distance) < 1e-5 * float(gradient.abs().max()) + 1e-7, name


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_nothing_is_compiled_twice(monkeypatch, precision):
    """After one batch of each kind, every bucket, text length and batch size runs what is there.

    The kinds are one sample or more, with gradients or without; all blocks share what is compiled
    for the first. Tracing is real, code is not generated: that takes minutes on a CPU.
    """
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *a, **k: real(*a, **k, backend="aot_eager"))
    compute = ComputeConfig(compile=True, precision=precision)  # bf16 is sharded, by hooks
    model = prepare(make_model(num_layers=3), CPU, compute)

    def run(batch, tokens, size):
        width, height = size
        shape = (batch, CHANNELS, height // 16, width // 16)
        lens = torch.full((batch,), tokens)
        for learns in (True, False):
            model.train(learns)
            with torch.set_grad_enabled(learns):
                text = torch.randn(batch, tokens, WIDTH)
                found = model(torch.randn(shape), torch.rand(batch), text, lens)
            if learns:
                found.square().mean().backward()

    sizes = scaled_buckets(64, 16)
    run(2, 5, sizes[0])
    run(1, 5, sizes[0])
    assert counters["stats"]["unique_graphs"] == 4

    for number, size in enumerate(sizes):
        for batch in (1, 2, 3 + number):
            run(batch, 1 + 3 * number, size)

    assert counters["stats"]["unique_graphs"] == 4


def test_a_machine_without_a_compiler_is_told():
    """Before anything is trained."""
    without = torch._inductor.config.patch({"cpp.cxx": ("no-such-compiler",)})
    sentence = r"no C\+\+ compiler on this machine; install g\+\+"

    with without, pytest.raises(UsageError, match=sentence):
        compile_blocks(make_model(), CPU)
