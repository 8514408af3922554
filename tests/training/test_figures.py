"""Figures: right with padding, empty micro-batches, several roles and several ranks."""

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing, nn

from tests.fakes.toys import CHANNELS, EDGE, WIDTH, make_batch, make_model, make_source
from training.data.plan import Cursor
from training.figures import Figures, Meter, MetricSums
from training.flops import model_flops
from training.guard import TrainingStoppedError
from training.journal import Journal, read_journal
from training.loop import Loop, LoopConfig
from training.model import ModelConfig
from training.objectives.base import Metric, Objective, Phase, Update
from training.objectives.flow import FlowConfig, FlowObjective
from training.optimizers import OptimizerConfig

CPU = torch.device("cpu")
IMAGE = EDGE * EDGE
FLOPS = model_flops(
    ModelConfig.model_validate({"preset": "tiny", "num_layers": 2}), CHANNELS, WIDTH
)


def closed(figures, phase, *batches, seconds=2.0):
    for batch in batches:
        figures.computed(phase, batch)
    figures.add("model", {}, norm=1.0, seconds=seconds, num_samples=sum(map(len, batches)))
    return figures.close()


def test_padding_is_what_teaches_nothing():
    """Padded text, and every token of a sample that counts nothing."""
    batch = make_batch(4)
    lens = batch.text_lens_B.tolist()
    forbidden = replace(batch, weight_B=torch.tensor([1.0, 0.0, 1.0, 1.0]))

    plain = closed(Figures(CPU), Phase("model"), batch)
    partly = closed(Figures(CPU), Phase("model"), batch, forbidden)

    tokens, useful = 4 * (IMAGE + 5), 4 * IMAGE + sum(lens)
    less = IMAGE + lens[1]
    assert plain["padding_share"] == pytest.approx(1 - useful / tokens)
    assert plain["tokens_per_s"] == pytest.approx(useful / 2)
    assert partly["padding_share"] == pytest.approx(1 - (2 * useful - less) / (2 * tokens))


def test_mfu_counts_useful_work_and_hfu_all_of_it():
    """Two samples in a second on a device that could make a known number of operations."""
    batch = make_batch(2)
    lens = batch.text_lens_B.tolist()
    useful = sum(FLOPS.train(IMAGE, n) for n in lens)
    padded = 2 * FLOPS.train(IMAGE, 5)
    again = 2 * FLOPS.forward(IMAGE, 5)

    found = closed(Figures(CPU, Meter(FLOPS, 1e9)), Phase("model"), batch, seconds=1.0)
    twice = closed(
        Figures(CPU, Meter(FLOPS, 1e9, recompute=True)), Phase("model"), batch, seconds=1.0
    )
    judged = closed(
        Figures(CPU, Meter(FLOPS, 1e9)), Phase("model", num_forward=2), batch, seconds=1.0
    )

    assert found["mfu"] == pytest.approx(useful / 1e9)
    assert found["hfu"] == pytest.approx(padded / 1e9)
    assert twice["mfu"] == found["mfu"]
    assert twice["hfu"] == pytest.approx((padded + again) / 1e9)
    assert judged["hfu"] == pytest.approx((padded + again) / 1e9)
    assert "mfu" not in closed(Figures(CPU, Meter(FLOPS)), Phase("model"), batch)


def test_parts_of_a_figure_are_weighed():
    """The mean of a figure is over its samples, not over its parts; nothing counted, no figure."""
    sums = MetricSums()
    sums.add({"a": Metric(torch.tensor(6.0), torch.tensor(2.0))})
    sums.add({"a": Metric(torch.tensor(1.0), torch.tensor(1.0)), "b": _nothing()})
    assert sums.close() == {"a": pytest.approx(7 / 3)}


def _nothing():
    return Metric(torch.tensor(0.0), torch.tensor(0.0))


class Alternating(Objective):
    """Two steps of a critic from a batch each, then one of the model from two."""

    def __init__(self) -> None:
        self.roles: Mapping[str, nn.Module] = {"model": nn.Linear(1, 1), "critic": nn.Linear(1, 1)}

    def next_phase(self, state):
        state["asked"] = state.get("asked", 0) + 1
        return Phase("model", num_batches=2) if state["asked"] % 3 == 0 else Phase("critic")

    def update(self, phase, batch):
        size = 3.0 if phase.role == "critic" else 1.0
        errors = self.roles[phase.role](torch.full((len(batch), 1), size)).square().flatten()
        counted = torch.tensor(float(len(batch)))
        figures = {"loss": Metric(errors.sum().detach(), counted)}
        if phase.role == "critic":
            figures["gap"] = Metric(counted * 7, counted)
        return Update(errors.sum() / batch.num_global, figures)


def test_roles_have_figures_of_their_own(tmp_path):
    """Losses, norms, rates and steps by role; samples of every global batch, once."""
    objective = Alternating()
    loop = Loop(
        objective,
        make_source(micro_size=2),
        LoopConfig(steps=6, log_every=3),
        {"model": OptimizerConfig(lr=1e-3), "critic": OptimizerConfig(lr=2e-2, warmup_steps=0)},
        journal=Journal(tmp_path, 0),
    )
    loop.run()

    lines = read_journal(tmp_path)
    assert [line["step"] for line in lines] == [3, 6]
    for line in lines:
        assert (line["critic/steps"], line["model/steps"]) == (2, 1)
        assert line["critic/gap"] == 7
        assert "model/gap" not in line
        assert line["critic/lr"] == 2e-2
        assert line["critic/grad_norm_max"] >= line["critic/grad_norm"] > line["model/grad_norm"]
    assert [line["samples"] for line in lines] == [20, 40]
    assert lines[1]["samples_per_s"] * lines[1]["step_s"] * 3 == pytest.approx(20)


class Broken(nn.Module):
    """Is no number for a text that is at hand on one rank alone."""

    def __init__(self, bad):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self._bad = bad

    def forward(self, latent, sigma, text, lens):
        velocity = self.weight * latent
        return torch.cat([velocity[:1] * float("nan"), velocity[1:]]) if self._bad else velocity


def work(rank, folder, port):
    """Train as one of two ranks; then again, with something broken on the second."""
    import os

    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=2)
    for model, name in ((make_model(), "whole"), (Broken(rank == 1), "broken")):
        loop = Loop(
            FlowObjective(FlowConfig(), model),
            make_source(rank=rank, world_size=2, micro_size=2),
            LoopConfig(steps=3, log_every=3),
            {"model": OptimizerConfig()},
            journal=Journal(folder / name if rank == 0 else None, 0),
            meter=Meter(FLOPS, 1e9),
        )
        try:
            loop.run()
        except TrainingStoppedError as error:
            (folder / f"said-{rank}").write_text(str(error))
    sums = MetricSums()
    sums.add({"only": Metric(torch.tensor(3.0), torch.tensor(2.0))} if rank else {})
    (folder / f"sums-{rank}").write_text(json.dumps(sums.close()))
    dist.destroy_process_group()


@pytest.mark.slow
def test_figures_are_of_all_ranks(tmp_path):
    """Tokens and padding of both ranks, samples once; both stop, and name the images of both."""
    context = multiprocessing.get_context("spawn")
    ranks = [context.Process(target=work, args=(rank, tmp_path, 29641)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
        assert process.exitcode == 0

    tokens = useful = flops = 0.0
    ids = set()
    for rank in range(2):
        batches = make_source(rank=rank, world_size=2, micro_size=2).batches(Cursor())
        for number, batch in zip(range(3), batches, strict=False):
            for micro in batch.micro:
                lens = micro.text_lens_B[micro.weight_B > 0].tolist()
                tokens += len(micro) * (IMAGE + micro.text_BTD.shape[1])
                useful += len(lens) * IMAGE + sum(lens)
                flops += sum(FLOPS.train(IMAGE, n) for n in lens)
                ids |= set(micro.image_ids) if number == 0 else set()
    (line,) = read_journal(tmp_path / "whole")
    seconds = 3 * line["step_s"]
    assert line["padding_share"] == pytest.approx(1 - useful / tokens)
    assert line["tokens_per_s"] == pytest.approx(useful / seconds)
    assert line["mfu"] == pytest.approx(flops / (seconds * 1e9 * 2))
    assert line["samples"] == 15

    (stop,) = read_journal(tmp_path / "broken")
    assert stop["event"] == "stopped"
    assert {sample["image_id"] for sample in stop["samples"]} == ids
    assert not stop["samples"][0]["is_finite"]
    said = [(tmp_path / f"said-{rank}").read_text() for rank in range(2)]
    assert said[0] == said[1] == stop["reason"]
    assert stop["samples"][0]["image_id"] in said[0]
    assert json.loads((tmp_path / "sums-0").read_text()) == {"only": 1.5}
