"""Models made for a run: the same on one rank and on two, whatever they start from."""

import json
import os

import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing

from tests.fakes.toys import make_model
from tests.training.test_loop import tensors_of
from training.journal import read_journal
from training.making import make_model as make
from training.recipe import parse_recipe
from training.run import train
from training.start import find_start
from training.trained import load_trained

CPU = torch.device("cpu")
SIZES = {"preset": "tiny", "num_layers": 2}


def parsed(text, *overrides):
    return parse_recipe(text, "toy.yaml", overrides)


def whole(model):
    """Return every weight of a model, whole."""
    found = {name: p.detach() for name, p in model.named_parameters()}
    return {n: v.full_tensor() if hasattr(v, "full_tensor") else v for n, v in found.items()}


def made(text):
    """Make a recipe's model for the toy source."""
    recipe = parsed(text)
    start = recipe.model.weights and find_start(recipe.model.weights)
    return make(recipe, 16, 8, CPU, start or None)


def work(rank, texts, lora, folder, port):
    """Make models and train an adapter, as one of two ranks; keep the models' weights."""
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=2)
    for name, text in texts.items():
        found = whole(made(text))
        if rank == 0:
            torch.save(found, folder / f"{name}.pt")
    train(parsed(lora, f"output={folder / 'both'}"), device=CPU)
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_hold_the_model_of_one(recipe, tmp_path):
    """Drawn weights, released ones, an adapter over those: the same bits, in two parts.

    An adapter that two ranks trained is that of one but for rounding; one rank loads it.
    """
    make_model().transformer.save_pretrained(tmp_path / "transformer", max_shard_size="1MB")
    embedded = tmp_path / "embedded"
    first = recipe(output=str(embedded), loop={"steps": 1}, optimizer={"lr": 0.01})
    train(parsed(first), device=CPU)
    start = {**SIZES, "weights": str(tmp_path / "transformer")}
    texts = {
        "drawn": recipe(model=SIZES, seed=3),
        "released": recipe(model=start),
        "adapter": recipe(model={**start, "lora": {"rank": 3}}, compute={"precision": "bf16"}),
    }
    lora = recipe(
        model={**SIZES, "weights": str(embedded), "lora": {"rank": 3}},
        optimizer={"lr": 0.01, "warmup_steps": 0},
        loop={"steps": 3, "log_every": 1},
        evaluation={"every": 2, "images": 4, "prompts": ["a red picture"], "steps": 2},
    )
    context = multiprocessing.get_context("spawn")
    arguments = (texts, lora, tmp_path, 29643)
    ranks = [context.Process(target=work, args=(rank, *arguments)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
        assert process.exitcode == 0

    for name, text in texts.items():
        expected = whole(made(text))
        if dist.is_initialized():
            dist.destroy_process_group()
        found = torch.load(tmp_path / f"{name}.pt", weights_only=True)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in expected), name
        assert all(found[key].dtype == expected[key].dtype for key in expected), name
    train(parsed(lora, f"output={tmp_path / 'one'}"), device=CPU)
    losses = [
        [line["model/loss"] for line in read_journal(tmp_path / n) if "model/loss" in line]
        for n in ("one", "both")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    one, both = (load_trained(str(tmp_path / n), CPU).model.state_dict() for n in ("one", "both"))
    assert all(torch.allclose(one[key], both[key], atol=1e-3) for key in one)
    assert all(".lora_" in n for n in tensors_of(tmp_path / "both", 3) if "exp_avg" in n)
    told = json.loads((tmp_path / "both/step-00000003/state.json").read_text())
    assert told["weights"]["reference"] == str(embedded)
