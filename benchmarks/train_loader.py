"""How long the loop waits for batches of a real snapshot, whose images it reads and decodes."""

import statistics
from pathlib import Path

import numpy as np
import yaml

from curation.pipeline.local_runner import LocalRunner
from curation.pixels.encode import encode_jpeg
from jobs.sessions import open_session
from jobs.snapshot import create_snapshot
from training.journal import Journal, read_journal
from training.loop import Loop
from training.objectives import OBJECTIVES
from training.recipe import Recipe, parse_recipe
from training.run import Run

IMAGES = 384
SIZES = ((512, 512), (640, 426), (426, 640))
"""Width and height of the originals."""

_STEPS_OF_A_LINE = 2


def measure(steps: int, folder: Path) -> dict[str, float]:
    """Train on a snapshot made for it, and say which share of each step was waiting.

    No decoded image is kept, so each visit of an image reads and decodes it; one batch is made
    ahead while another is learnt from. The first two lines warm up.

    Args:
        steps: Optimizer steps.
        folder: For the images, the dataset and the run.
    """
    run = Run(recipe(make_dataset(folder), folder / "run", steps))
    objective = OBJECTIVES["flow"](run.recipe.objective, run.model())
    loop = Loop(
        objective,
        run.source(run.table),
        run.recipe.loop,
        {"model": run.recipe.optimizer},
        journal=Journal(folder / "run", 0),
    )
    loop.run()
    lines = read_journal(folder / "run")[2:]
    batch = run.recipe.data.batch.size
    assert batch is not None
    return {
        "wait_share": round(statistics.median(line["wait_share"] for line in lines), 4),
        "wait_share_worst": round(max(line["wait_share"] for line in lines), 4),
        "step_s": round(statistics.median(batch / line["samples_per_s"] for line in lines), 3),
    }


def make_dataset(folder: Path) -> Path:
    """Curate pieces of photographs, publish a snapshot of all of them, and return the dataset."""
    from skimage import data

    sources = [getattr(data, name)() for name in ("astronaut", "coffee", "chelsea", "rocket")]
    rng = np.random.default_rng(0)
    lake = folder / "lake"
    lake.mkdir(parents=True)
    for number in range(IMAGES):
        width, height = SIZES[number % len(SIZES)]
        source = sources[number % len(sources)]
        rows = rng.integers(0, source.shape[0], 1)[0] + np.arange(height)
        columns = rng.integers(0, source.shape[1], 1)[0] + np.arange(width)
        piece = source.take(rows, 0, mode="wrap").take(columns, 1, mode="wrap")
        (lake / f"{number:04d}.jpg").write_bytes(encode_jpeg(np.ascontiguousarray(piece), 90))
    pipeline = {
        "name": "loader",
        "dataset": str(folder / "dataset"),
        "source": {"name": "lake", "kind": "folder", "roots": [str(lake)]},
        "stages": {"inspect": {}, "caption": {"category": False}},
        "snapshot": {"where": {"intact": "inspect_error IS NULL"}},
        "run": {"workers": 1},
    }
    path = folder / "loader.yaml"
    path.write_text(yaml.safe_dump(pipeline), encoding="utf-8")
    summary = open_session(path).run(LocalRunner, runner_name="bench")
    assert summary.exit_code == 0, summary.lines()
    create_snapshot(path)
    return folder / "dataset"


def recipe(dataset: Path, output: Path, steps: int) -> Recipe:
    """Return what is trained: pictures of about 128 px, on a model whose step takes a while."""
    value = {
        "name": "loader",
        "dataset": str(dataset),
        "output": str(output),
        "model": {
            "preset": "tiny",
            "hidden_size": 192,
            "num_attention_heads": 6,
            "num_layers": 6,
            "ffn_hidden_size": 576,
        },
        "data": {"edge_px": 128, "batch": {"size": 16}, "micro_size": 16, "cache_bytes": 0},
        "loop": {"steps": steps, "log_every": _STEPS_OF_A_LINE},
    }
    return parse_recipe(yaml.safe_dump(value), "recipe")
