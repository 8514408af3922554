"""Checkpoints of several ranks: whole or not there, whoever fails or is killed."""

import errno
import json
import os
import signal
import subprocess
import sys

import pytest
import torch
import torch.distributed as dist

from curation.errors import StorageError, UsageError
from tests.fakes.ranks import on_ranks
from tests.training.test_loop import assert_close, make_loop, tensors_of
from training.checkpoint import Checkpoints
from training.journal import read_journal


class Breaking(Checkpoints):
    """On rank 1 something happens while step 8 is written; `how` says what."""

    def __init__(self, url, how):
        super().__init__(url)
        self._how = how

    def _writer(self, step):
        writer = super()._writer(step)
        if step == 8 and dist.get_rank() == 1:
            if self._how == "cannot begin":
                raise OSError(errno.EACCES, "Permission denied", "tensors")
            write = writer.write_data

            def write_data(plan, planner):
                if self._how == "is killed":
                    write(plan, planner).wait()
                    os.kill(os.getpid(), signal.SIGKILL)
                raise OSError(errno.ENOSPC, "No space left on device")

            writer.write_data = write_data
        return writer


def train_breaking(rank, world_size, folder, how):
    """Train as one of several ranks, and tell how it ended."""
    loop = make_loop(folder, 12, rank=rank, world_size=world_size)
    loop.checkpoints = Breaking(str(folder), how)
    ended = "well"
    try:
        loop.run()
    except StorageError as error:
        ended = str(error)
    told = {"ended": ended, "step": loop.step}
    (folder / f"rank-{rank}.json").write_text(json.dumps(told))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "words"),
    [("cannot begin", "Permission denied"), ("runs out of space", "No space left on device")],
)
def test_a_rank_that_cannot_write_ends_the_run_on_all(tmp_path, how, words):
    """At the next checkpoint each rank says so in the same sentence; the one before is whole."""
    tmp_path.joinpath("run").mkdir()

    assert on_ranks(2, train_breaking, tmp_path / "run", how) == [0, 0]

    told = [json.loads((tmp_path / f"run/rank-{n}.json").read_text()) for n in range(2)]
    assert told[0] == told[1]
    assert told[0]["step"] == 12
    assert "step-00000008: writing this checkpoint failed (rank 1: " in told[0]["ended"]
    assert words in told[0]["ended"]
    assert "step 4 is the newest whole one" in told[0]["ended"]
    assert Checkpoints(str(tmp_path / "run")).steps() == [4]


def resume(rank, world_size, folder):
    """Go on from the newest checkpoint, as one of several ranks."""
    (step,) = Checkpoints(str(folder)).steps()
    loop = make_loop(folder, 12, since=step, rank=rank, world_size=world_size)
    loop.restore(step)
    loop.run()


@pytest.mark.slow
def test_a_rank_killed_while_it_writes_costs_that_checkpoint_only(tmp_path):
    """Its part is there, the whole is not: the other rank ends too, and the one before goes on."""
    torch.set_num_threads(1)
    run = tmp_path / "run"
    run.mkdir()

    codes = on_ranks(2, train_breaking, run, "is killed")

    assert codes[1] == -signal.SIGKILL
    assert list((run / "step-00000008/tensors").glob("__1_*.distcp"))
    assert not (run / "rank-1.json").exists()
    if codes[0] == 0:  # it learnt it while it waited, not in the middle of a step
        told = json.loads((run / "rank-0.json").read_text())
        assert "another rank ended" in told["ended"]
    assert Checkpoints(str(run)).steps() == [4]

    assert on_ranks(2, resume, run) == [0, 0]

    assert Checkpoints(str(run)).steps() == [4, 8, 12]
    assert [line["step"] for line in read_journal(run)] == [*range(1, 13)]
    make_loop(tmp_path / "one", 12).run()
    assert_close(tmp_path / "one", run, 12)


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path):
    """What is written is what was there when it was asked for."""
    loop = make_loop(tmp_path, 5)
    seen = {}

    def on_step(step):
        if step == 4:
            seen.update({n: p.detach().clone() for n, p in make_names(loop)})
            with torch.no_grad():
                for _, parameter in make_names(loop):
                    parameter.zero_()

    def make_names(loop):
        return loop.trained["model"].module.named_parameters()

    loop.run(on_step)

    kept = tensors_of(tmp_path, 4)
    for name, value in seen.items():
        assert torch.equal(kept[f"/model/model/{name}"], value)


def test_checkpoints_lie_in_any_store():
    """An object store holds them as a folder does."""
    where = "memory://checkpoints-of-a-test"
    loop = make_loop_without_figures(where)
    loop.run()
    assert Checkpoints(where).steps() == [4, 8]

    again = make_loop_without_figures(where)
    again.restore(8)

    for name, parameter in again.trained["model"].module.named_parameters():
        assert torch.equal(parameter, loop.trained["model"].module.get_parameter(name))


def make_loop_without_figures(where):
    loop = make_loop(None)
    loop.checkpoints = Checkpoints(where)
    return loop


def test_another_format_is_refused(tmp_path):
    """In a sentence, before anything is read from it."""
    make_loop(tmp_path, 4).run()
    path = tmp_path / "step-00000004/state.json"
    path.write_text(path.read_text().replace('"format": 2', '"format": 1'))

    with pytest.raises(UsageError, match="format 1, and this version of Longtail reads 2"):
        make_loop(tmp_path).restore(4)


def test_a_store_that_cannot_be_written_is_named(tmp_path):
    """One process says it in the same words as several."""
    (tmp_path / "step-00000004").write_text("in the way")

    with pytest.raises(StorageError, match=r"step-00000004: writing .* there is no whole one"):
        make_loop(tmp_path).run()


def test_saving_alone_is_nothing_to_warn_of(tmp_path):
    """One process says nothing of the others that there are not."""
    code = f"""
import torch
from training.checkpoint import Checkpoints
checkpoints = Checkpoints({str(tmp_path)!r})
checkpoints.save(1, {{"a": torch.ones(3)}}, {{}})
checkpoints.wait()
found = {{"a": torch.zeros(3)}}
checkpoints.load(1, found)
assert found["a"].sum() == 3
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert (done.stdout, done.stderr) == ("", "")
