"""Pipelines of fakes in a few words, run without Ray, and what they leave on disk."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from curation.dataset import Dataset
from curation.pipeline.config import parse_pipeline
from curation.pipeline.instances import Instance
from curation.pipeline.local_runner import LocalRunner
from curation.pipeline.session import Session
from curation.pipeline.summary import RunSummary
from tests.fakes.stages import STAGES

Stages = Mapping[str, Mapping[str, Any] | None]


def make_session(
    dataset: Path, lake: Path | None, stages: Stages, *, source: Any = None, **run: Any
) -> Session:
    """Make the session of a pipeline called `fake`.

    The text that `pipelines/fake.yaml` keeps leaves out the dataset's place, so that two datasets
    of the same pipeline can be compared byte for byte.
    """
    value: dict[str, Any] = {"name": "fake", "stages": stages}
    value["run"] = {"max_shard_rows": 10, "workers": 1, **run}
    if lake is not None:
        value["source"] = {"name": "lake", "roots": [str(lake)], "list_shards": 1, **(source or {})}
    text = yaml.safe_dump(value, sort_keys=False)
    config = parse_pipeline(text, "fake.yaml", [f"dataset={dataset}"])
    return Session(config, text, STAGES)


def run(session: Session, **options: Any) -> RunSummary:
    """Run a session in local child processes."""
    return session.run(LocalRunner, runner_name="local", **options)


def run_stages(dataset: Path, lake: Path, stages: Stages, **options: Any) -> Session:
    """Run a pipeline that must end complete; return its session."""
    session = make_session(dataset, lake, stages, **options)
    summary = run(session)
    assert summary.complete, summary.lines()
    return session


def find(session: Session, name: str) -> Instance:
    """Return an instance with the artefacts pinned now."""
    dataset = Dataset.open(session.config.dataset)
    return next(i for i in session.instances(dataset) if i.name == name)


def read_images(session: Session, columns: list[str] | None = None) -> pa.Table:
    """Read every image shard."""
    dataset = Dataset.open(session.config.dataset)
    return pa.concat_tables([dataset.read_images(n, columns) for n in dataset.image_shards()])


def read_instance(session: Session, name: str) -> pa.Table:
    """Read what an instance wrote, all shards."""
    dataset = Dataset.open(session.config.dataset)
    fingerprint = find(session, name).fingerprint
    shards = dataset.instance_shards(name, fingerprint)
    return pa.concat_tables([dataset.read_instance(name, fingerprint, n) for n in shards])


def files_of(folder: Path, *, without: tuple[str, ...] = ()) -> dict[str, bytes]:
    """Return path -> bytes of every file below a folder, but for some of its top-level names."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and name.parts[0] not in without:
            found[name.as_posix()] = path.read_bytes()
    return found
