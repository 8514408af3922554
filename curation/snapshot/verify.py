"""Whether a snapshot's files are still what its manifest says."""

import hashlib

from curation.dataset import Dataset
from curation.snapshot.manifest import FileInfo
from curation.snapshot.read import find_snapshot, read_manifest, snapshot_path


def verify_snapshot(dataset: Dataset, snapshot: str) -> list[str]:
    """Hash the snapshot's own files again, never a stage's.

    Returns:
        One sentence for each fault; empty where all is well.

    Raises:
        SnapshotError: There is no such snapshot.
    """
    manifest = read_manifest(dataset, find_snapshot(dataset, snapshot))
    faults = []
    if manifest.content.snapshot_id() != manifest.id:
        faults.append(
            f"{snapshot_path(manifest.id, 'manifest.json')}: its content gives the id "
            f"{manifest.content.snapshot_id()}, not {manifest.id}; it was edited"
        )
    return [*faults, *check_files(dataset, snapshot_path(manifest.id, ""), manifest.files)]


def check_files(dataset: Dataset, folder: str, files: dict[str, FileInfo]) -> list[str]:
    """Compare files with what a manifest says of them; return a sentence for each that differs."""
    faults = []
    for name, info in sorted(files.items()):
        path = f"{folder.rstrip('/')}/{name}"
        try:
            data = dataset.store.read(path)
        except FileNotFoundError:
            faults.append(f"{path}: the file is missing; make the snapshot anew")
            continue
        if len(data) != info.num_bytes or hashlib.sha256(data).hexdigest() != info.sha256:
            faults.append(f"{path}: the content has changed; make the snapshot anew")
    return faults
