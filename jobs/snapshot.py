"""Ray job: publish a snapshot of what a pipeline has made.

ray job submit --working-dir . -- python -m jobs.snapshot configs/portraits.yaml
"""

import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from curation.dataset import Dataset
from curation.errors import LongtailError
from curation.pipeline.relation_rows import relation_rows
from curation.snapshot import create
from curation.snapshot.manifest import SnapshotManifest
from jobs.sessions import open_session
from stages.sample import HierarchicalSampler


def create_snapshot(path: Path, overrides: Sequence[str] = (), **options: Any) -> create.Created:
    """Make the snapshot that a pipeline file describes; see `curation.snapshot.create`."""
    return create.create_snapshot(*_arguments(path, overrides), **options)


def preview_snapshot(path: Path, overrides: Sequence[str] = (), **options: Any) -> SnapshotManifest:
    """Decide as `create_snapshot` would, and write nothing."""
    return create.preview(*_arguments(path, overrides), **options)


def _arguments(path: Path, overrides: Sequence[str]) -> tuple[Any, ...]:
    session = open_session(path, overrides)
    dataset = Dataset.open(session.config.dataset)
    instances = session.instances(dataset)
    relations = relation_rows(dataset, instances)
    return dataset, session.config, instances, relations, HierarchicalSampler()


def code_version() -> str:
    """Return the version of Longtail, as manifests record it."""
    try:
        return metadata.version("longtail")
    except metadata.PackageNotFoundError:
        return "working directory"


def main(path: str) -> int:
    """Publish the snapshot of the pipeline in `path`; return the exit code for Ray."""
    try:
        made = create_snapshot(Path(path), code_version=code_version())
    except LongtailError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(made.manifest.id)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
