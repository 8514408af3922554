"""The journal: whole lines, cut back where a run goes on, on folders and on object stores."""

import itertools
import json
import time
import uuid
from types import SimpleNamespace

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer

from curation.storage import Store
from training.boards import TensorBoard
from training.journal import METRICS, Journal, read_journal, read_lines

SHEET = np.zeros((4, 8, 3), np.uint8)


@pytest.fixture(params=["folder", "object store"])
def store(request, tmp_path):
    return Store(
        str(tmp_path / "run") if request.param == "folder" else f"memory://{uuid.uuid4().hex}"
    )


def test_lines_and_pictures_of_forgotten_steps_are_removed(store):
    """What was said after the step that a run goes on from is gone; all else stays as it was."""
    first = Journal(store, 0)
    for step in range(1, 5):
        first.write(step, {"model/loss": 1 / (3 * step)})
        first.picture(step, SHEET)
    first.event(5, "stopped", {"reason": "a spike", "samples": []})
    before = read_lines(store)

    second = Journal(store, 3)
    second.write(4, {"model/loss": 7.0})
    second.flush()

    assert read_lines(store) == [*before[:3], {"step": 4, "model/loss": 7.0}]
    assert store.names("samples") == [f"step-{step:08d}.png" for step in (1, 2, 3)]


def test_a_run_that_begins_anew_begins_an_empty_journal(store):
    """An output may hold the lines of a run that left no checkpoint."""
    Journal(store, 0).event(1, "stopped", {})

    Journal(store, 0)

    assert read_lines(store) == []


def test_a_torn_line_is_no_line(tmp_path):
    """A run that was killed while it wrote: the line is left out, and gone when the run goes on."""
    journal = Journal(tmp_path, 0)
    journal.write(1, {"model/loss": 2.0})
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"step": 2, "model/lo')

    assert read_journal(tmp_path) == [{"step": 1, "model/loss": 2.0}]
    Journal(tmp_path, 1).write(2, {"model/loss": 1.0})
    assert [json.loads(line)["step"] for line in (tmp_path / METRICS).open()] == [1, 2]


def test_no_line_holds_what_json_does_not_know(tmp_path):
    """A held-out loss may be no number: null."""
    Journal(tmp_path, 0).write(1, {"held_out/loss": float("nan"), "a": float("inf"), "b": 1.0})

    assert read_journal(tmp_path) == [{"step": 1, "held_out/loss": None, "a": None, "b": 1.0}]


def test_a_silent_rank_writes_nothing(tmp_path):
    """Only the first rank has a place to write to."""
    journal = Journal(None, 0)
    journal.write(1, {"a": 1.0})
    journal.picture(1, SHEET)
    journal.event(1, "stopped", {})
    journal.close()
    assert list(tmp_path.iterdir()) == []


def shown(store, tmp_path):
    """Return what TensorBoard shows of an output, as its own reader merges event files."""
    folder = tmp_path / uuid.uuid4().hex
    for name in store.files("tensorboard"):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(store.read(name))
    found = EventAccumulator(str(folder / "tensorboard"), {"scalars": 0, "images": 0})
    found.Reload()
    return (
        [(event.step, event.value) for event in found.Scalars("model/loss")],
        [event.step for event in found.Images("samples")],
    )


def test_tensorboard_forgets_too(store, tmp_path, monkeypatch):
    """Figures and pictures of both processes, without what was forgotten between them."""
    # Files are read in the order of the seconds in their names; here all are of one second.
    seconds = itertools.count(1_800_000_000)
    clock = SimpleNamespace(time=lambda: next(seconds), sleep=time.sleep)
    monkeypatch.setattr(event_file_writer, "time", clock)
    for since, last, loss in ((0, 4, 1.0), (2, 5, 0.5)):
        journal = Journal(store, since, [TensorBoard(store, since)])
        for step in range(since + 1, last + 1):
            journal.write(step, {"model/loss": loss})
            journal.picture(step, SHEET)
            journal.flush()
        journal.close()

    assert shown(store, tmp_path) == (
        [(1, 1.0), (2, 1.0), (3, 0.5), (4, 0.5), (5, 0.5)],
        [1, 2, 3, 4, 5],
    )
