"""Runs: from a snapshot to checkpoints, figures and pictures."""

import itertools
import json
import os
import shutil
import time

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from torch import multiprocessing

from curation.errors import ConfigError, SnapshotError, UsageError
from curation.ingest.tombstones import add_tombstones
from curation.snapshot.read import find_snapshot
from schemas.tombstones import TOMBSTONES
from tests.training.test_loop import assert_same, assert_same_tensors
from training.data.plan import Cursor
from training.export import export
from training.journal import read_journal
from training.recipe import parse_recipe
from training.run import Run, train
from training.trained import load_trained

CPU = torch.device("cpu")


def parsed(text, *overrides):
    return parse_recipe(text, "toy.yaml", overrides)


def test_a_run_leaves_checkpoints_figures_and_pictures(recipe, tmp_path):
    """Every checkpoint says which snapshot made it; figures have every step; pictures are there."""
    run = train(parsed(recipe()), device=CPU)

    state = json.loads((tmp_path / "run/step-00000006/state.json").read_text())
    assert state["snapshot"] == find_snapshot(run.dataset, "latest")
    assert state["encoders"]["codec"]["codec"] == "block_dct"
    lines = read_journal(tmp_path / "run")
    assert [line["step"] for line in lines if "model/loss" in line] == [1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in lines if "held_out/loss" in line] == [3, 6]
    with Image.open(tmp_path / "run/samples/step-00000006.png") as picture:
        assert picture.size == (32, 32)


def run_killed(text, output, stop_at):
    """Train in a process that ends without a word, once its first checkpoint is written."""
    torch.set_num_threads(1)

    def on_step(step):
        if step == stop_at:
            while not (output / "step-00000003/complete.json").exists():
                time.sleep(0.01)
            os._exit(9)

    train(parsed(text, f"output={output}"), device=CPU, on_step=on_step)


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_bit(recipe, tmp_path):
    """Killed and resumed, a run on a snapshot ends with the bytes of one that was left alone."""
    torch.set_num_threads(1)
    text = recipe(output=str(tmp_path / "straight"))
    train(parsed(text), device=CPU)
    process = multiprocessing.get_context("spawn").Process(
        target=run_killed, args=(text, tmp_path / "killed", 5)
    )
    process.start()
    process.join()
    assert process.exitcode == 9

    train(parsed(text, f"output={tmp_path / 'killed'}"), device=CPU, resume=True)

    states = []
    for name in ("straight", "killed"):
        path = tmp_path / name / "step-00000006/state.json"
        state = json.loads(path.read_text())
        state["recipe"].pop("output")
        path.write_text(json.dumps(state))
        states.append(state)
    assert_same(tmp_path / "straight", tmp_path / "killed", 6)


def test_an_output_with_checkpoints_is_not_overwritten(recipe):
    """The second run must say that it resumes, and must be the same run."""
    text = recipe()
    train(parsed(text, "loop.steps=3"), device=CPU)

    with pytest.raises(UsageError, match="say --resume"):
        train(parsed(text), device=CPU)
    with pytest.raises(UsageError, match="another recipe"):
        train(parsed(text, "optimizer.lr=0.5"), device=CPU, resume=True)
    train(parsed(text, "data.micro_size=2"), device=CPU, resume=True)


STAGED = {
    "batch": {"size": 6},
    "micro_size": 4,
    "stages": [{"batches": 3, "edge_px": 32}, {"edge_px": 64, "batch": {"size": 3}, "shift": 2.0}],
}


def test_a_staged_run_goes_from_small_to_large_pictures(recipe, tmp_path):
    """Stopped within its second stage it goes on to the bit; pictures have the stage's size."""
    text = recipe(data=STAGED, evaluation={"every": 3, "prompts": ["a red picture"], "steps": 1})
    train(parsed(text, f"output={tmp_path / 'straight'}"), device=CPU)
    stopped = f"output={tmp_path / 'stopped'}"
    train(parsed(text, stopped, "loop.steps=4"), device=CPU)

    run = train(parsed(text, stopped), device=CPU, resume=True)

    assert_same_tensors(tmp_path / "straight", tmp_path / "stopped", 6)
    lines = [
        [line["model/loss"] for line in read_journal(tmp_path / name) if "model/loss" in line]
        for name in ("straight", "stopped")
    ]
    assert lines[0] == lines[1]
    assert run.checkpoints.state(6)["cursor"]["stage"] == 1
    for step, edge in ((3, 32), (6, 64)):
        with Image.open(tmp_path / f"stopped/samples/step-{step:08d}.png") as picture:
            assert picture.size == (edge, edge)
        trained = load_trained(str(tmp_path / f"straight/step-{step:08d}"), CPU)
        assert trained.square == (edge, edge)

    with pytest.raises(UsageError, match="step 6 is batch 3 of stage 1, and up to there"):
        train(parsed(text.replace("shift: 2.0", "shift: 3.0"), stopped), device=CPU, resume=True)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"data": {"captions": {"variants": {"poem": 1}}}}, "have no caption of the kinds poem"),
        ({"snapshot": "abc"}, "there is no snapshot 'abc'"),
    ],
)
def test_a_snapshot_that_lacks_something_is_refused(recipe, change, sentence):
    """Before a model is made, in a sentence."""
    with pytest.raises(SnapshotError, match=sentence):
        train(parsed(recipe(**change)), device=CPU)


def test_a_wrong_recipe_is_refused(recipe):
    """Unknown keys come with the nearest known one."""
    with pytest.raises(ConfigError, match=r"optimizer\.lrr: unknown key \(did you mean lr\?\)"):
        parsed(recipe(optimizer={"lrr": 1}))


def test_a_batch_shows_the_images_of_the_snapshot(recipe):
    """Pixels come in the bucket's size, and have the colour that their caption names."""
    run = Run(parsed(recipe(data={"edge_px": 32, "batch": {"size": 8}})), CPU)
    colors = {"red": 0, "green": 1, "blue": 2}
    captions = dict(
        zip(
            (i.tobytes().hex() for i in run.table.image_ids),
            run.table.captions.to_pylist(),
            strict=True,
        )
    )
    source = run.source(run.table)
    seen = 0
    for found in itertools.islice(source.batches(Cursor()), 6):
        (batch,) = found.micro
        pixels = run.codec.decode(batch.latent_BCHW).float().mean((1, 2))
        height, width = batch.latent_BCHW.shape[2:]
        assert (8 * width, 8 * height) in run.buckets[0]
        for image_id, mean in zip(batch.image_ids, pixels, strict=True):
            text = " ".join(c["text"] for c in captions[image_id])
            assert colors[next(c for c in colors if c in text)] == int(mean.argmax())
            seen += 1
    assert seen == 48


@pytest.mark.parametrize("limit", [5, 1000])
def test_held_out_images_are_looked_at_once(recipe, limit):
    """Each of them once, in whatever sizes they come; the same few where there is a limit."""
    run = Run(parsed(recipe(data={"edge_px": 32, "batch": {"size": 50}, "micro_size": 2})), CPU)
    source = run.source(run.held_out, held_out=True)

    seen = [[i for batch in source.once(limit) for i in batch.image_ids] for _ in range(2)]

    assert len(seen[0]) == len(set(seen[0])) == min(limit, len(run.held_out))
    assert seen[0] == seen[1]
    assert all(len(batch) <= 2 for batch in source.once(limit))


def test_what_was_forgotten_counts_nothing(recipe, corpus, tmp_path):
    """A tombstone that came after the snapshot leaves the image's slot, with weight 0."""
    copy = tmp_path / "dataset"
    shutil.copytree(corpus.parent / "dataset", copy)
    before = Run(parsed(recipe(dataset=str(copy))), CPU)
    gone = before.table.image_ids[0].tobytes()
    row = {"image_id": gone, "content_sha256": None, "reason": "asked for", "created_at": None}
    add_tombstones(before.dataset, pa.Table.from_pylist([row], TOMBSTONES))

    run = Run(parsed(recipe(dataset=str(copy))), CPU)

    weights: dict[str, float] = {}
    for found in itertools.islice(run.source(run.table).batches(Cursor()), 14):
        for batch in found.micro:
            weights.update(zip(batch.image_ids, batch.weight_B.tolist(), strict=True))
    assert weights[gone.hex()] == 0
    assert sorted(weights.values())[1:] == [1.0] * (len(weights) - 1)
    assert len(weights) == len(run.table) == len(before.table)


def test_a_checkpoint_draws_and_is_handed_on(recipe, tmp_path):
    """Loaded again it draws the picture that the run drew; diffusers loads what is exported."""
    import diffusers

    from training.evaluate import draw_pictures

    train(parsed(recipe()), device=CPU)
    trained = load_trained(str(tmp_path / "run"), CPU)
    pictures = draw_pictures(
        trained.model,
        trained.codec,
        trained.texts,
        trained.recipe.evaluation,
        ["a red picture"],
        size=trained.square,
        device=CPU,
    )
    with Image.open(tmp_path / "run/samples/step-00000006.png") as drawn:
        assert np.array_equal(np.asarray(drawn), pictures[0])

    assert export(trained, tmp_path / "out") == "transformer"
    loaded = diffusers.ErnieImageTransformer2DModel.from_pretrained(tmp_path / "out/transformer")
    for name, value in trained.model.transformer.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    with pytest.raises(UsageError, match="not empty"):
        export(trained, tmp_path / "out")


def test_there_must_be_a_checkpoint(tmp_path):
    """A folder without one is refused in a sentence."""
    with pytest.raises(UsageError, match="no complete checkpoint"):
        load_trained(str(tmp_path), CPU)
