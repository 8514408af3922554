"""The summary: made of the output alone, of runs that go on, end, stop or were killed."""

import json
import re
import uuid
from html import unescape

import numpy as np
import pytest
import torch

from curation.errors import UsageError
from curation.storage import Store
from training.figures import SPEEDS
from training.guard import TrainingStoppedError
from training.journal import Journal, read_journal, read_lines
from training.recipe import parse_recipe
from training.record import RECORD, read_record
from training.run import train
from training.summary import SUMMARY, make_summary, render, write_summary

CPU = torch.device("cpu")
HOSTILE = "</style><script>alert(1)</script> \u202e'\""


def parsed(text, *overrides):
    return parse_recipe(text, "toy.yaml", overrides)


def recorded(store):
    record = read_record(store)
    assert record is not None
    return record


@pytest.fixture
def trained(recipe, tmp_path):
    """A run of six steps with a prompt that is hostile."""
    text = recipe(
        evaluation={"every": 3, "prompts": [HOSTILE], "steps": 2},
        journal={"peak_tflops": 0.5},
    )
    train(parsed(text), device=CPU)
    return tmp_path / "run"


def test_a_run_writes_its_summary(trained):
    """Curves, pictures, checkpoints, what it is made of and what can be done with it."""
    found = make_summary(Store(str(trained)))

    assert found.is_finished
    assert found.stop is None
    shown = {c.title: [line.name for line in c.lines] for c in (*found.losses, *found.devices)}
    assert shown["Loss"] == ["training", "held out, averaged weights"]
    assert len(shown["Held-out loss by noise level"]) >= 3
    assert shown["Use of the devices"] == ["MFU", "HFU"]
    assert shown["Lost to padding, and to waiting for data"]
    assert not found.others
    assert [sheet.step for sheet in found.sheets] == [3, 6]
    assert found.checkpoints == ((6, True), (3, True))
    record = recorded(Store(str(trained)))
    html = (trained / SUMMARY).read_text()
    for words in (record["snapshot"], record["dataset"], "649,408", "longtail export"):
        assert words in html
    assert "block_dct" in html
    assert "hashed_tokens" in html


def test_hostile_words_stay_words(trained):
    """A prompt becomes no markup and turns no text around; nothing is run or loaded."""
    html = (trained / SUMMARY).read_text()

    assert "<script" not in html
    assert "\u202e" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "default-src 'none'; img-src data:; style-src 'sha256-" in unescape(html)
    assert not re.search(r'(?:src|href)="(?!data:|#|file:///)', html)


def test_figures_are_whole(trained, recipe):
    """Every line has what the journal promises, and a resumed run says the same."""
    lines = [line for line in read_journal(trained) if "model/loss" in line]
    assert len(lines) == 6
    for line in lines:
        expected = {"model/grad_norm", "model/grad_norm_max", "model/lr", "padding_share", "epoch"}
        assert expected | (set(SPEEDS) - {"device_memory_bytes", "evaluation_s"}) <= set(line)
        assert 0 <= line["padding_share"] < 1
        assert 0 < line["mfu"] <= line["hfu"]
    assert [line["samples"] for line in lines] == [6, 12, 18, 24, 30, 36]
    looked = [line for line in read_journal(trained) if "held_out/loss" in line]
    assert [line["step"] for line in looked] == [3, 6]


def test_held_out_losses_meet_the_same_noise(recipe, tmp_path):
    """Where no weight moves, they are the same at every step, in every part of sigma."""
    frozen = {"lr": 1e-30, "warmup_steps": 0, "ema_decay": None}
    train(parsed(recipe(optimizer=frozen)), device=CPU)

    first, second = (
        {k: v for k, v in line.items() if k not in (*SPEEDS, "step")}
        for line in read_journal(tmp_path / "run")
        if "held_out/loss" in line
    )
    assert first == second
    assert sum("sigma" in name for name in first) >= 3


def test_a_run_without_figures_is_shown(trained):
    """Before the first line, and where the recipe asks for no pictures: sentences, no errors."""
    (trained / "metrics.jsonl").unlink()
    for sheet in (trained / "samples").iterdir():
        sheet.unlink()
    record = json.loads((trained / RECORD).read_text())
    record["recipe"]["evaluation"]["prompts"] = []
    record["recipe"]["journal"]["peak_tflops"] = None
    (trained / RECORD).write_text(json.dumps(record))

    html = render(make_summary(Store(str(trained))))

    assert "No step has left figures yet" in html
    assert "No peak is known of cpu at this precision; state journal.peak_tflops." in html
    assert "so none are drawn" in html


def test_a_killed_run_is_shown(trained):
    """Torn lines, a checkpoint that is not whole: the page says where it was and how to go on."""
    (trained / "step-00000006/complete.json").unlink()
    lines = (trained / "metrics.jsonl").read_text().splitlines()
    kept = [line for line in lines if json.loads(line)["step"] <= 5]
    (trained / "metrics.jsonl").write_text("\n".join(kept) + '\n{"step": 6, "mod')

    found = make_summary(Store(str(trained)))

    assert (found.step, found.is_finished) == (5, False)
    assert found.checkpoints == ((6, False), (3, True))
    assert ("go on from step 3", "longtail train RECIPE --resume") in found.commands


def test_a_stopped_run_says_why(recipe, tmp_path):
    """The reason and the images of the batch stand in the journal and on the page."""
    spoilt = recipe(optimizer={"lr": 1e30, "warmup_steps": 0}, loop={"steps": 6, "log_every": 1})
    with pytest.raises(TrainingStoppedError) as caught:
        train(parsed(spoilt), device=CPU)

    found = make_summary(Store(str(tmp_path / "run")))
    assert found.stop is not None
    assert found.stop.reason == str(caught.value)
    assert len(found.stop.samples) == 6
    html = (tmp_path / "run" / SUMMARY).read_text()
    assert f"The run stopped itself before step {found.stop.step}" in html
    assert found.stop.samples[0]["image_id"] in html


def test_many_sheets_are_thinned(trained):
    """At most eleven, with the first and the last."""
    journal = Journal(trained, 6)
    for step in range(7, 40):
        journal.picture(step, np.zeros((8, 8, 3), np.uint8))

    found = make_summary(Store(str(trained)))

    assert len(found.sheets) == 11
    assert (found.sheets[0].step, found.sheets[-1].step, found.num_sheets) == (3, 39, 35)


def test_an_output_without_a_run_is_refused(tmp_path):
    """In a sentence."""
    with pytest.raises(UsageError, match=r"holds no run\.json, so no run"):
        write_summary(Store(str(tmp_path)))


def test_an_object_store_is_an_output_too(recipe):
    """Figures, pictures, TensorBoard's files and the page are there, and cut back on resume."""
    url = f"memory://{uuid.uuid4().hex}"
    store = Store(url)
    text = recipe(output=url)
    train(parsed(text), device=CPU)
    before = read_lines(store)
    identity = recorded(store)["id"]
    for name in store.files("step-00000006"):
        store.delete(name)

    train(parsed(text), device=CPU, resume=True)

    def timeless(lines):
        return [{k: v for k, v in line.items() if k not in SPEEDS} for line in lines]

    assert timeless(read_lines(store)) == timeless(before)
    assert recorded(store)["id"] == identity
    assert recorded(store)["resumed"][0]["step"] == 3
    assert store.exists(SUMMARY)
    assert store.names("samples") == ["step-00000003.png", "step-00000006.png"]
    assert len(store.files("tensorboard")) >= 2
