"""Stopping on signals: after the step in hand, with a checkpoint; or at once."""

import os
import pickle
import signal
import threading

import pytest
import torch

from tests.training.test_loop import assert_same
from training.checkpoint import Checkpoints
from training.journal import read_journal
from training.recipe import parse_recipe
from training.run import carry_out, prepare, train
from training.stopping import TrainingInterruptedError, stop_signals

CPU = torch.device("cpu")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_ends(number, capfd):
    """Python's own handlers come back afterwards."""
    before = signal.getsignal(number)
    ended: list[int] = []
    with stop_signals(at_once=ended.append) as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
        assert ended == []
        os.kill(os.getpid(), number)
        assert ended == [stop.exit_code] == [128 + number]

    assert signal.getsignal(number) == before
    words = capfd.readouterr().err
    assert "once more to stop at once" in words
    assert "stopped at once; go on from the last checkpoint with --resume" in words


def test_a_signal_that_came_twice_is_one():
    """As torchrun passes on what a terminal gave to every process already."""
    ended: list[int] = []
    with stop_signals(patience_s=3600.0, is_first=False, at_once=ended.append) as stop:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()

    assert ended == []


def test_a_thread_takes_no_signals():
    """Python gives them to the main thread alone: elsewhere a run is never asked to stop."""
    asked: list[bool] = []

    def look():
        with stop_signals() as stop:
            asked.append(stop())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert asked == [False]


def test_the_error_travels():
    """Between processes, as Ray hands it over."""
    error = pickle.loads(pickle.dumps(TrainingInterruptedError(1234)))

    assert error.step == 1234
    assert str(error).startswith("stopped after step 1,234, whose checkpoint is written")


@pytest.mark.parametrize("stop_at", [3, 4])
def test_a_stopped_run_goes_on_to_the_bit(recipe, tmp_path, stop_at):
    """Stopped where a checkpoint is due, or elsewhere, and resumed: as one that was left alone."""
    torch.set_num_threads(1)
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    text = recipe()
    train(parse_recipe(text, "toy.yaml", [f"output={straight}"]), device=CPU)
    parsed = parse_recipe(text, "toy.yaml", [f"output={stopped}"])
    steps: list[int] = []

    run, start = prepare(parsed, device=CPU)
    with pytest.raises(TrainingInterruptedError, match=f"after step {stop_at}"):
        carry_out(run, start, on_step=steps.append, stop=lambda: steps[-1] == stop_at)
    assert Checkpoints(str(stopped)).steps()[-1] == stop_at == steps[-1]
    train(parsed, device=CPU, resume=True)

    for folder in (straight, stopped):
        path = folder / "step-00000006/state.json"
        path.write_text(path.read_text().replace(str(folder), "OUTPUT"))
    assert_same(straight, stopped, 6)


def test_a_stop_at_the_last_step_is_its_end(recipe, tmp_path):
    """There is nothing to go on with."""
    run, start = prepare(parse_recipe(recipe(), "toy.yaml"), device=CPU)
    steps: list[int] = []

    carry_out(run, start, on_step=steps.append, stop=lambda: steps[-1] == 6)

    assert run.checkpoints.steps() == [3, 6]


def test_a_stop_ends_a_line_of_figures(recipe, tmp_path):
    """A run that goes on begins a new one, so these steps would be in none."""
    loop = {"steps": 6, "checkpoint_every": 6, "log_every": 4}
    parsed = parse_recipe(recipe(loop=loop), "toy.yaml")
    run, start = prepare(parsed, device=CPU)

    with pytest.raises(TrainingInterruptedError):
        carry_out(run, start, stop=lambda: True)
    train(parsed, device=CPU, resume=True)

    lines = [line for line in read_journal(tmp_path / "run") if "model/loss" in line]
    assert [(line["step"], line["model/steps"]) for line in lines] == [(1, 1), (4, 3), (6, 2)]
