"""A dataset with a snapshot to train on, made once by the real stages."""

import shutil
import uuid
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from curation.dataset import Dataset
from jobs.sessions import open_session
from jobs.snapshot import create_snapshot
from tests.fakes.inline_runner import InlineRunner

COLORS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (50, 60, 210)}
SIZES = ((48, 48), (64, 40), (40, 64), (96, 40))


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    """Curate 48 pictures of three colours and four proportions; return the pipeline's file."""
    folder = tmp_path_factory.mktemp("corpus")
    lake = folder / "lake"
    rng = np.random.default_rng(0)
    for number in range(48):
        name = list(COLORS)[number % 3]
        width, height = SIZES[number % 4]
        noise = rng.normal(0, 12, (height, width, 3))
        pixels = np.clip(np.array(COLORS[name]) + noise, 0, 255).astype(np.uint8)
        path = lake / name / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        path.with_suffix(".txt").write_text(f"a {name} picture")
    pipeline = {
        "name": "corpus",
        "dataset": str(folder / "dataset"),
        "source": {"name": "lake", "kind": "folder", "roots": [str(lake)]},
        "stages": {"inspect": {}, "caption": {"category": False}},
        "snapshot": {
            "where": {"intact": "inspect_error IS NULL"},
            "split": {"validation": 0.25},
        },
        "run": {"max_shard_rows": 20},
    }
    path = folder / "corpus.yaml"
    path.write_text(yaml.safe_dump(pipeline), encoding="utf-8")
    summary = open_session(path).run(InlineRunner, runner_name="inline")
    assert summary.complete, summary.lines()
    create_snapshot(path)
    return path


@pytest.fixture(scope="session")
def preferred(corpus, tmp_path_factory) -> tuple[Dataset, str]:
    """Copy the corpus and prefer one of two neighbours of a size; return dataset and snapshot."""
    folder = tmp_path_factory.mktemp("preferred")
    shutil.copytree(corpus.parent / "dataset", folder / "dataset")
    dataset = Dataset.open(str(folder / "dataset"))
    tables = [dataset.read_images(n, ["source_key", "image_id"]) for n in dataset.image_shards()]
    ids = {row["source_key"]: row["image_id"] for t in tables for row in t.to_pylist()}
    keys = sorted(ids, key=lambda key: int(Path(key).stem))
    rows = []
    for number, (one, other) in enumerate(zip(keys, keys[4:], strict=False)):
        if number % 8 < 4:  # every fourth picture has the same size; no picture is in two pairs
            sides = (str(uuid.UUID(bytes=ids[key])) for key in (one, other))
            rows.append((f"a {Path(one).parent.name} picture, number {number}", *sides))
    columns = dict(zip(("prompt", "winner", "loser"), zip(*rows, strict=True), strict=True))
    pq.write_table(pa.table(columns), folder / "pairs.parquet")
    overrides = [f"dataset={folder / 'dataset'}"]
    made = create_snapshot(corpus, overrides, preferences=str(folder / "pairs.parquet"))
    return dataset, made.manifest.id


@pytest.fixture
def recipe(corpus, tmp_path):
    """Return what makes the text of a recipe for the corpus, with changes."""

    def make(**changes):
        value = {
            "name": "toy",
            "dataset": str(corpus.parent / "dataset"),
            "output": str(tmp_path / "run"),
            "model": {"preset": "tiny", "num_layers": 2},
            "data": {"edge_px": 32, "batch": {"size": 6}, "micro_size": 4},
            "loop": {"steps": 6, "checkpoint_every": 3, "log_every": 1},
            "evaluation": {"every": 3, "prompts": ["a red picture"], "steps": 2},
        }
        return yaml.safe_dump({**value, **changes})

    return make
