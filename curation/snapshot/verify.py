"""Whether a snapshot's files are still what its manifest and its amendments say."""

import hashlib
from collections.abc import Mapping

from curation.dataset import Dataset
from curation.snapshot.amendments import Amended, amended_files
from curation.snapshot.manifest import FileInfo
from curation.snapshot.read import find_snapshot, read_manifest, snapshot_path


def verify_snapshot(dataset: Dataset, snapshot: str) -> list[str]:
    """Hash the snapshot's own files again, never a stage's.

    A file out of which words of forgotten images were taken must be what its amendments say.

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
    folder = snapshot_path(manifest.id, "")
    amended = amended_files(dataset, manifest)
    return [*faults, *check_files(dataset, folder, manifest.files, amended)]


def amendment_notes(dataset: Dataset, snapshot: str) -> list[str]:
    """Return a sentence for each file of a snapshot that was amended.

    Raises:
        SnapshotError: There is no such snapshot.
    """
    manifest = read_manifest(dataset, find_snapshot(dataset, snapshot))
    return [
        f"{snapshot_path(manifest.id, name)}: amended; words of forgotten images were taken out"
        for name in amended_files(dataset, manifest)
    ]


def check_files(
    dataset: Dataset,
    folder: str,
    files: Mapping[str, FileInfo],
    amended: Mapping[str, Amended],
) -> list[str]:
    """Compare files with what a manifest says of them; return a sentence for each that differs.

    Args:
        dataset: The dataset.
        folder: Where the files lie.
        files: What the manifest says.
        amended: What it no longer says; see `amended_files`.
    """
    faults = []
    for name, info in sorted(files.items()):
        path = f"{folder.rstrip('/')}/{name}"
        try:
            data = dataset.store.read(path)
        except FileNotFoundError:
            faults.append(f"{path}: the file is missing; make the snapshot anew")
            continue
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 in (amended[name].after if name in amended else {info.sha256}):
            continue
        if name in amended and sha256 in amended[name].before:
            faults.append(
                f"{path}: an amendment was begun and not finished; run `longtail forget` again "
                "with the same images"
            )
        else:
            faults.append(f"{path}: the content has changed; make the snapshot anew")
    return faults
