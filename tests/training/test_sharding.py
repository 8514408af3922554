"""Models made ready to train: the same gradients however they are held and computed."""

import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing

from tests.fakes.toys import make_batch, make_model
from training.compute import ComputeConfig
from training.ema import Ema
from training.lora import LoraConfig, add_adapter
from training.objectives.base import Phase
from training.objectives.flow import FlowConfig, FlowObjective
from training.sharding import prepare

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def alone():
    """Leave no group of processes behind."""
    yield
    if dist.is_initialized():
        dist.destroy_process_group()


def gradients(model, batch=None):
    """Return a batch's loss and gradients by name, whole."""
    model.train()
    loss = FlowObjective(FlowConfig(), model).update(Phase("model"), batch or make_batch(5)).loss
    loss.backward()
    found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    whole = {n: g.full_tensor() if hasattr(g, "full_tensor") else g for n, g in found.items()}
    return loss.detach(), whole


def test_checkpointing_gives_the_same_gradients():
    """To the bit: what is computed again is computed as before."""
    plain = gradients(prepare(make_model(), CPU, ComputeConfig()))
    other = gradients(prepare(make_model(), CPU, ComputeConfig(activation_checkpointing=True)))

    assert torch.equal(plain[0], other[0])
    assert plain[1].keys() == other[1].keys()
    assert all(torch.equal(plain[1][name], other[1][name]) for name in plain[1])


def test_checkpointing_keeps_less():
    """What is saved for the backward pass is a part of what it was."""

    def saved(compute):
        model = prepare(make_model(num_layers=4), CPU, compute)
        seen = {}

        def pack(tensor):
            storage = tensor.untyped_storage()
            seen[storage.data_ptr()] = (tensor, storage.nbytes())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = FlowObjective(FlowConfig(), model).update(Phase("model"), make_batch(5)).loss
        own = {p.untyped_storage().data_ptr() for p in model.parameters()}
        total = sum(nbytes for place, (_, nbytes) in seen.items() if place not in own)
        loss.backward()
        return total

    assert saved(ComputeConfig(activation_checkpointing=True)) < saved(ComputeConfig()) / 3


def test_bf16_is_what_diffusers_computes_in_bf16():
    """Its blocks, its weights cast to bf16, and noise levels and rotary angles in fp32."""
    plain = make_model().eval()
    reference = make_model().transformer.to(torch.bfloat16)
    model = prepare(make_model(), CPU, ComputeConfig(precision="bf16")).eval()
    batch = make_batch(3)
    sigma = torch.tensor([0.9973, 0.5037, 0.0314])

    with torch.no_grad():
        found = model(batch.latent_BCHW, sigma, batch.text_BTD, batch.text_lens_B)
        (expected,) = reference(
            batch.latent_BCHW.bfloat16(),
            sigma * 1000,
            batch.text_BTD.bfloat16(),
            batch.text_lens_B,
            return_dict=False,
        )
        exact = plain(batch.latent_BCHW, sigma, batch.text_BTD, batch.text_lens_B)

    assert found.dtype == torch.float32
    assert torch.equal(found, expected.float())
    assert 0 < float((found - exact).abs().max()) < 0.03 * float(exact.abs().max())


def test_bf16_trains_weights_of_fp32():
    """Weights and gradients have all their digits; gradients are near those of fp32."""
    exact, found = (
        gradients(prepare(make_model(), CPU, ComputeConfig(precision=precision)))[1]
        for precision in ("fp32", "bf16")
    )

    assert {gradient.dtype for gradient in found.values()} == {torch.float32}
    for name, gradient in exact.items():
        cosine = torch.cosine_similarity(gradient.flatten(), found[name].flatten(), dim=0)
        assert float(cosine) > 0.99, name


def test_looking_at_averages_leaves_training_as_it_was():
    """A forward pass with other weights and no backward pass: the next gradients are the same."""
    model = prepare(make_model(), CPU, ComputeConfig(precision="bf16"))
    averages = Ema(model, 0.9)
    for average in averages.shadow.values():
        average.mul_(0)
    batch = make_batch(3)
    loss, expected = gradients(model)
    model.zero_grad()

    with averages.applied(), torch.no_grad():
        model.eval()(batch.latent_BCHW, torch.rand(3), batch.text_BTD, batch.text_lens_B)

    again, found = gradients(model)
    assert torch.equal(again, loss)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_keys_stay():
    """Whatever is done to a model, its state has diffusers' keys."""
    expected = make_model().state_dict().keys()
    compute = ComputeConfig(precision="bf16", activation_checkpointing=True, compile=True)

    model = prepare(make_model(), CPU, compute)

    assert model.state_dict().keys() == expected
    assert dict(model.named_parameters()).keys() == expected


def adapted():
    """Make a model with an adapter that does something, its weights in bf16."""
    model = make_model()
    add_adapter(model, LoraConfig(rank=4, alpha=8), torch.bfloat16)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def work(rank, folder, port):
    """Compute gradients as one of two ranks, each with its part of the batch; keep them."""
    import os

    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=2)
    part = make_batch(5, num_global=5, part=slice(0, 3) if rank == 0 else slice(3, 5))
    for name, make, compute in CASES:
        _, found = gradients(prepare(make(), CPU, compute), part)
        if rank == 0:
            torch.save(found, folder / f"{name}.pt")
    dist.destroy_process_group()


CASES = [
    ("fp32", make_model, ComputeConfig(activation_checkpointing=True)),
    ("bf16", make_model, ComputeConfig(precision="bf16", activation_checkpointing=True)),
    ("lora", adapted, ComputeConfig(precision="bf16", activation_checkpointing=True)),
]


@pytest.mark.slow
def test_two_ranks_have_the_gradients_of_one(tmp_path):
    """In fp32 to rounding, in bf16 nearly; of an adapter beside frozen weights of bf16 too."""
    context = multiprocessing.get_context("spawn")
    ranks = [context.Process(target=work, args=(rank, tmp_path, 29641)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
        assert process.exitcode == 0

    for name, make, compute in CASES:
        _, alone = gradients(prepare(make(), CPU, compute))
        both = torch.load(tmp_path / f"{name}.pt", weights_only=True)
        assert both.keys() == alone.keys()
        assert name != "lora" or all(".lora_" in key for key in both)
        for key, expected in alone.items():
            found = both[key] * 2  # a mean over ranks, which the loop makes a sum
            if name == "fp32":
                assert torch.allclose(found, expected, rtol=1e-4, atol=1e-7), key
            else:
                cosine = torch.cosine_similarity(found.flatten(), expected.flatten(), dim=0)
                assert float(cosine) > 0.99, (name, key)
