"""Finding and reading snapshots."""

import json
import re
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.config import validate
from curation.dataset import Dataset
from curation.errors import SnapshotError
from curation.snapshot.decide import PreviousSplits
from curation.snapshot.manifest import FORMAT, SnapshotManifest
from curation.snapshot.split import SPLITS
from curation.tables import read_table
from schemas import dataset as layout

MANIFEST = "manifest.json"

_LATEST = re.compile(r"latest(?:~(\d+))?")


def snapshot_path(snapshot: str, name: str) -> str:
    """Return where a file of a snapshot lies."""
    return f"{layout.snapshot_folder(snapshot)}/{name}"


def list_snapshots(dataset: Dataset) -> list[SnapshotManifest]:
    """Return the manifests of all snapshots, the oldest first; unfinished ones do not count."""
    found = [read_manifest(dataset, snapshot) for snapshot in _ids(dataset)]
    return sorted(found, key=lambda manifest: (manifest.created_at, manifest.id))


def find_snapshot(dataset: Dataset, prefix: str) -> str:
    """Return the id of the only snapshot whose id begins with `prefix`.

    `latest` is the one made last, `latest~1` the one before it, and so on.

    Raises:
        SnapshotError: None or several do.
    """
    if match := _LATEST.fullmatch(prefix):
        made = list_snapshots(dataset)
        steps = int(match[1] or 0)
        if steps >= len(made):
            message = f"{dataset.store.url}: no snapshot {prefix!r}, there are {len(made)}"
            raise SnapshotError(message)
        return made[-1 - steps].id
    known = _ids(dataset)
    found = [snapshot for snapshot in known if prefix and snapshot.startswith(prefix)]
    if prefix in found:
        return prefix
    if len(found) != 1:
        what = f"{len(found)} snapshots begin with" if found else "there is no snapshot"
        message = (
            f"{dataset.store.url}: {what} {prefix!r}; see `longtail snapshot list` for "
            f"the {len(known)} that exist"
        )
        raise SnapshotError(message)
    return found[0]


def read_manifest(dataset: Dataset, snapshot: str) -> SnapshotManifest:
    """Read the manifest of the snapshot with this whole id.

    Raises:
        SnapshotError: There is no such snapshot, or it is of a newer format.
    """
    path = snapshot_path(snapshot, MANIFEST)
    try:
        value = json.loads(dataset.store.read(path))
    except FileNotFoundError as error:
        message = f"{dataset.store.url}: there is no snapshot {snapshot!r}"
        raise SnapshotError(message) from error
    except ValueError as error:
        message = f"{dataset.store.uri(path)}: not JSON; restore the file or make the snapshot anew"
        raise SnapshotError(message) from error
    found = value.get("content", {}).get("format") if isinstance(value, dict) else None
    if found != FORMAT:
        message = (
            f"{dataset.store.uri(path)}: format {found!r}, this version reads {FORMAT!r}; "
            "install a newer longtail"
        )
        raise SnapshotError(message)
    return validate(SnapshotManifest, value, dataset.store.uri(path))


def read_parts(
    dataset: Dataset,
    manifest: SnapshotManifest,
    folder: str,
    columns: Sequence[str] | None = None,
) -> Iterator[pa.Table]:
    """Yield the files of `decisions` or `data`, in order of shard and row, or of `preferences`.

    Args:
        dataset: The dataset.
        manifest: The snapshot's manifest: files that it does not name do not count.
        folder: `decisions`, `data`, or `preferences`, which a snapshot may lack.
        columns: What to read; null for everything.
    """
    for name in sorted(manifest.files):
        if name.startswith(f"{folder}/"):
            yield read_table(dataset.store, snapshot_path(manifest.id, name), columns)


def previous_splits(dataset: Dataset, snapshot: str) -> PreviousSplits:
    """Read the splits of the rows that a snapshot kept."""
    manifest = read_manifest(dataset, snapshot)
    columns = ["shard", "row", "kept", "split"]
    parts = [
        table.filter(table["kept"]) for table in read_parts(dataset, manifest, "decisions", columns)
    ]
    table = pa.concat_tables(parts)
    splits = pc.index_in(table["split"], pa.array(SPLITS, pa.string()))
    return PreviousSplits(
        np.asarray(table["shard"].to_numpy(), np.int32),
        np.asarray(table["row"].to_numpy(), np.int32),
        np.asarray(splits.to_numpy(), np.int8),
    )


def _ids(dataset: Dataset) -> list[str]:
    return [
        name
        for name in dataset.store.names("snapshots")
        if dataset.store.exists(snapshot_path(name, MANIFEST))
    ]
