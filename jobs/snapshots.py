"""From a pipeline file to a snapshot: what the command line and the Ray jobs share."""

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from curation.dataset import Dataset
from curation.pipeline.relation_rows import current_relations
from curation.snapshot.create import Created, create_snapshot, preview
from curation.snapshot.manifest import SnapshotManifest
from jobs.sessions import open_session
from stages.sample import HierarchicalSampler


def snapshot_pipeline(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    allow_pending: bool = False,
    previous: str | None = None,
    hold_split: bool = False,
) -> Created:
    """Make the snapshot that a pipeline file describes; see `create_snapshot`."""
    return create_snapshot(
        **_inputs(path, overrides),
        allow_pending=allow_pending,
        previous=previous,
        hold_split=hold_split,
    )


def preview_pipeline(
    path: Path, overrides: Sequence[str] = (), *, allow_pending: bool = False
) -> SnapshotManifest:
    """Decide as `snapshot_pipeline` would, and write nothing."""
    return preview(**_inputs(path, overrides), allow_pending=allow_pending)


def _inputs(path: Path, overrides: Sequence[str]) -> dict[str, Any]:
    session = open_session(path, overrides)
    dataset = Dataset.open(session.config.dataset)
    instances = session.instances(dataset)
    return {
        "dataset": dataset,
        "pipeline": session.config,
        "instances": instances,
        "relations": current_relations(dataset, instances),
        "sampler": HierarchicalSampler(),
        "code_version": _version(),
    }


def _version() -> str:
    try:
        return metadata.version("longtail")
    except metadata.PackageNotFoundError:  # a working directory on a cluster
        return ""
