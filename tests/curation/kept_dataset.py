"""A small dataset that went through real stages, with a snapshot, for what takes things out."""

from pathlib import Path
from typing import Any

from curation.dataset import Dataset
from curation.pipeline.local_runner import LocalRunner
from jobs.sessions import open_session
from jobs.snapshot import create_snapshot
from tests.fakes.lake import make_lake

PIPELINE = """
name: kept
dataset: {dataset}
source: {{name: lake, roots: [{lake}], list_shards: 1}}
stages:
  inspect: {{}}
  aesthetic: {{}}
snapshot:
  where: {{intact: inspect_error IS NULL}}
run: {{max_shard_rows: 6, workers: 1}}
"""


def write_pipeline(folder: Path, num_images: int = 9) -> Path:
    """Make a lake and a pipeline file for it; `d2/twin.png` has the bytes of the first image."""
    make_lake(folder / "lake", num_images)
    path = folder / "kept.yaml"
    path.write_text(PIPELINE.format(dataset=folder / "dataset", lake=folder / "lake"))
    return path


def run(pipeline: Path, *overrides: str) -> Dataset:
    """Bring the dataset up to date and open it."""
    session = open_session(pipeline, overrides)
    summary = session.run(LocalRunner, runner_name="local")
    assert summary.complete, summary.lines()
    return Dataset.open(session.config.dataset)


def publish(pipeline: Path) -> str:
    """Make a snapshot; return its id."""
    return create_snapshot(pipeline).manifest.id


def rows_of(dataset: Dataset) -> list[dict[str, Any]]:
    """Read every row of the image shards."""
    return [row for n in dataset.image_shards() for row in dataset.read_images(n).to_pylist()]
