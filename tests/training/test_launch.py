"""Processes that torchrun starts: who they are, and that together they do what one does."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch

from curation.errors import UsageError
from training.checkpoint import Checkpoints
from training.journal import read_journal
from training.launch import Place, launched, this_place
from training.recipe import parse_recipe
from training.run import train

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    """Whoever runs the tests may be one of several processes."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_a_process_without_torchrun_is_the_only_one():
    """It speaks, it joins nobody, and errors pass through it."""
    assert this_place() == Place(0, 1, 0, is_launched=False)
    with launched() as ranks, ranks.joined(torch.device("cpu"), 1.0):
        assert ranks.place.is_first
        assert ranks.is_first_to_fail()
        assert not torch.distributed.is_initialized()
    with pytest.raises(UsageError, match="mine"), launched():
        raise UsageError("mine")


def test_torchrun_says_who_a_process_is(monkeypatch):
    """By its environment, all of it or none."""
    for name, value in zip(NAMES, ("5", "16", "1", "10.0.0.1", "29500"), strict=True):
        monkeypatch.setenv(name, value)
    place = this_place()
    assert place == Place(5, 16, 1, is_launched=True)
    assert not place.is_first

    monkeypatch.setenv("RANK", "first")
    with pytest.raises(UsageError, match="are first, 16, 1, not numbers"):
        this_place()
    monkeypatch.delenv("MASTER_PORT")
    with pytest.raises(UsageError, match=r"has RANK, .* but no MASTER_PORT; start with torchrun"):
        this_place()


def test_each_process_has_a_gpu_of_its_own(monkeypatch):
    """More processes than GPUs on a machine are refused, before any of them is taken."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)

    assert Place(9, 16, 1, is_launched=True).device() == torch.device("cuda", 1)
    assert Place().device() == torch.device("cuda")
    with pytest.raises(UsageError, match="torchrun --nproc-per-node 2"):
        Place(10, 16, 2, is_launched=True).device()


def torchrun(recipe, *arguments):
    """Start the command on two processes of this machine."""
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
        *("--standalone", "-m", "curation.cli", "train", str(recipe), *arguments),
    ]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def losses(folder):
    """Return the losses and gradients' norms of a run."""
    names = ("model/loss", "model/grad_norm", "held_out/loss")
    return [line[name] for line in read_journal(folder) for name in names if name in line]


@pytest.mark.slow
def test_two_processes_do_what_one_does(recipe, tmp_path):
    """Through the command line, pictures and held-out losses included; only the first speaks."""
    torch.set_num_threads(1)
    path = tmp_path / "toy.yaml"
    path.write_text(recipe(loop={"steps": 4, "checkpoint_every": 2, "log_every": 1}))
    text = path.read_text()
    overrides = [f"output={tmp_path / 'one'}", "evaluation.every=2"]
    train(parse_recipe(text, "toy.yaml", overrides), device=torch.device("cpu"))

    process = torchrun(path, "--set", f"output={tmp_path / 'two'}", "--set", "evaluation.every=2")
    out, err = process.communicate()

    assert process.returncode == 0, err
    assert out.count("images of snapshot") == 1
    assert err.count("step 4 of 4, loss") == 1
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    assert (tmp_path / "two/samples/step-00000004.png").exists()
    assert Checkpoints(str(tmp_path / "two")).steps() == [2, 4]


@pytest.mark.slow
def test_what_stops_all_is_said_once(recipe, tmp_path):
    """A refusal, and a loss that is no number: a sentence, and no line of our code."""
    path = tmp_path / "toy.yaml"
    path.write_text(recipe())
    for arguments, words in (
        (("--snapshot", "abc"), "there is no snapshot 'abc'"),
        (("--set", "optimizer.lr=1e30"), "the loss is"),
    ):
        process = torchrun(path, *arguments)
        _, err = process.communicate()
        assert process.returncode == 1  # torchrun's own, whatever the processes say
        assert len(re.findall(f"error: .*{re.escape(words)}", err)) == 1, err
        assert "curation/cli" not in err


@pytest.mark.slow
def test_a_signal_stops_all_after_the_same_step(recipe, tmp_path):
    """It is passed on; the processes agree on the step, write it, and it can go on."""
    path = tmp_path / "toy.yaml"
    path.write_text(recipe(loop={"steps": 1000, "checkpoint_every": 1000, "log_every": 1}))
    output = tmp_path / "run"
    process = torchrun(path)
    while not read_journal(output) and process.poll() is None:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate()

    (step,) = Checkpoints(str(output)).steps()
    assert f"stopped after step {step}, whose checkpoint is written" in out, err
    assert read_journal(output)[-1]["step"] == step
    text = path.read_text()
    shorter = [f"loop.steps={step + 1}", "evaluation.every=1000000"]
    train(parse_recipe(text, "toy.yaml", shorter), resume=True, device=torch.device("cpu"))
    assert Checkpoints(str(output)).steps() == [step, step + 1]
