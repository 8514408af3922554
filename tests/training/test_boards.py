"""Weights & Biases: without a network, gone on with, and refused where it cannot be had."""

import importlib.util
import json

import numpy as np
import pytest
import wandb

from curation.errors import UsageError
from curation.storage import Store
from training.boards import WandbConfig, WandbRun
from training.journal import Journal
from training.recipe import parse_recipe
from training.run import train

_BLOCK = 32768
_HEADER = 7
NAMED = {"name": "toy"}


def records(path):
    """Yield the records of a file that `wandb sync` sends: protocol buffers in LevelDB's log."""
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    data, place, parts = path.read_bytes(), _HEADER, b""  # the file begins with wandb's own header
    while place + _HEADER <= len(data):
        if _BLOCK - place % _BLOCK < _HEADER:
            place += _BLOCK - place % _BLOCK
            continue
        length = int.from_bytes(data[place + 4 : place + 6], "little")
        kind = data[place + 6]
        parts += data[place + _HEADER : place + _HEADER + length]
        place += _HEADER + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(parts)
            parts = b""


def history(path):
    """Return the run's id and the figures that were logged, in order."""
    ids, lines = set(), []
    for record in records(path):
        if record.WhichOneof("record_type") == "run":
            ids.add(record.run.run_id)
        elif record.WhichOneof("record_type") == "history":
            found = {
                item.key or "/".join(item.nested_key): json.loads(item.value_json)
                for item in record.history.item
            }
            lines.append({k: v for k, v in found.items() if not k.startswith("_")})
    return ids, lines


@pytest.mark.slow
def test_an_offline_run_is_written_below_the_output(tmp_path, monkeypatch):
    """With no network and no key; a run that is gone on with is the same one there.

    Its figures are drawn over the metric `step`, so those of a step that is made anew are too.
    """
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    config = WandbConfig(project="longtail", mode="offline")
    config.check(str(tmp_path))
    found = []
    for since, last, loss in ((0, 2, 1.0), (1, 3, 0.5)):
        folder = tmp_path / str(since)  # wandb names files by the second
        store = Store(str(folder))
        journal = Journal(store, since, [WandbRun(config, store, "run1", {"recipe": NAMED})])
        for step in range(since + 1, last + 1):
            journal.write(step, {"model/loss": loss})
        journal.picture(last, np.zeros((4, 8, 3), np.uint8))
        journal.close()
        wandb.teardown()

        (path,) = folder.glob("wandb/offline-run-*/run-run1.wandb")
        ids, lines = history(path)
        assert ids == {"run1"}
        found += [(line["step"], line["model/loss"]) for line in lines if "model/loss" in line]
        assert [line["step"] for line in lines if "samples/_type" in line] == [last]
        assert len(list(folder.glob("wandb/offline-run-*/files/media/images/*.png"))) == 1
    assert found == [(1, 1.0), (2, 1.0), (2, 0.5), (3, 0.5)]


def test_offline_files_need_a_folder(recipe):
    """An object store has no files that grow."""
    text = recipe(output="memory://run", journal={"wandb": {"project": "x", "mode": "offline"}})
    with pytest.raises(UsageError, match="which memory://run cannot hold; take online"):
        train(parse_recipe(text, "toy.yaml"))


def test_a_missing_package_is_refused_before_anything_is_made(recipe, tmp_path, monkeypatch):
    """In a sentence that says what to install."""
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "wandb" else found(name)
    )
    text = recipe(journal={"wandb": {"project": "x", "mode": "offline"}})

    with pytest.raises(UsageError, match=r"pip install 'longtail\[wandb\]'"):
        train(parse_recipe(text, "toy.yaml"))
    assert not (tmp_path / "run").exists()


def test_a_missing_key_is_refused(recipe, tmp_path, monkeypatch):
    """Left alone, wandb would ask for it on the terminal, or wait."""
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    text = recipe(journal={"wandb": {"project": "x"}})

    with pytest.raises(UsageError, match="set WANDB_API_KEY in the environment"):
        train(parse_recipe(text, "toy.yaml"))
    assert not (tmp_path / "run").exists()


def test_a_key_is_found_where_wandb_keeps_it(tmp_path, monkeypatch):
    """In the environment, or in the file that `wandb login` writes."""
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_BASE_URL", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password made-up\n")
    (tmp_path / "netrc").chmod(0o600)
    WandbConfig(project="x").check(str(tmp_path))

    (tmp_path / "netrc").unlink()
    monkeypatch.setenv("WANDB_API_KEY", "made-up")
    WandbConfig(project="x").check(str(tmp_path))
