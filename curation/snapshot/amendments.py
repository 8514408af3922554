"""The one exception to "a snapshot never changes": words of forgotten images are taken out.

These are captions in `data/`, and in `preferences/` the prompts of their pairs. The id stays, since
it is the hash of what was decided, and that is as it was. Of every file that is put anew an
amendment is kept, `amendments/<digest>.json`, which names the file, what it was, what it is, and
the tombstones that asked for it, and nothing of the image. It is created before the file is put:
killed in between, the file is still what it was, `verify_snapshot` says that an amendment is not
finished, and forgetting the same images again finishes it.
"""

import hashlib
import json
from dataclasses import dataclass

import pyarrow as pa

from curation.config import Config, validate
from curation.dataset import Dataset
from curation.fingerprint import digest, pretty_json
from curation.snapshot.manifest import FileInfo, SnapshotManifest
from curation.snapshot.read import snapshot_path
from curation.tables import to_parquet

FORMAT = "longtail-amendment-1"

_FOLDER = "amendments"


class Amendment(Config):
    """The content of `amendments/<digest>.json`.

    Attributes:
        format: Version of this structure.
        file: The file below the snapshot's folder.
        before: SHA-256 of what it was.
        after: What it is.
        tombstones: File of the dataset with the tombstones that asked for it.
    """

    format: str = FORMAT
    file: str
    before: str
    after: FileInfo
    tombstones: str


@dataclass(frozen=True)
class Amended:
    """What a file of a snapshot was, and what it may be now, by SHA-256.

    Attributes:
        before: What was amended: the manifest's, and what earlier amendments left.
        after: What the last amendments left.
    """

    before: frozenset[str]
    after: frozenset[str]


def amend_file(
    dataset: Dataset, snapshot: str, file: str, before: str, table: pa.Table, tombstones: str
) -> None:
    """Replace a file of a snapshot by `table`, on the record.

    Args:
        dataset: The dataset.
        snapshot: The snapshot's whole id.
        file: The file below the snapshot's folder.
        before: SHA-256 of the bytes that `table` was made from.
        table: What the file is to hold.
        tombstones: See `Amendment`.
    """
    data = to_parquet(table)
    after = FileInfo(
        num_bytes=len(data), num_rows=len(table), sha256=hashlib.sha256(data).hexdigest()
    )
    amendment = Amendment(file=file, before=before, after=after, tombstones=tombstones)
    value = amendment.model_dump(mode="json")
    path = snapshot_path(snapshot, f"{_FOLDER}/{digest(value)}.json")
    dataset.store.create(path, pretty_json(value))
    dataset.store.put(snapshot_path(snapshot, file), data)


def list_amendments(dataset: Dataset, snapshot: str) -> list[Amendment]:
    """Return the amendments of the snapshot with this whole id, in no order of time."""
    found = []
    for name in dataset.store.names(snapshot_path(snapshot, _FOLDER)):
        if name.endswith(".json"):
            path = snapshot_path(snapshot, f"{_FOLDER}/{name}")
            value = json.loads(dataset.store.read(path))
            found.append(validate(Amendment, value, dataset.store.uri(path)))
    return found


def amended_files(dataset: Dataset, manifest: SnapshotManifest) -> dict[str, Amended]:
    """Return file -> what it may be, for the files of a snapshot that were amended.

    Amendments follow one another from what the manifest says, each from what the one before it
    left; where two were made at the same time there are two ends, of which either will do.
    """
    amendments = list_amendments(dataset, manifest.id)
    found = {}
    for file in sorted({amendment.file for amendment in amendments} & manifest.files.keys()):
        steps: dict[str, set[str]] = {}
        for amendment in amendments:
            if amendment.file == file:
                steps.setdefault(amendment.before, set()).add(amendment.after.sha256)
        reached: set[str] = set()
        waiting = {manifest.files[file].sha256}
        while waiting:
            reached |= waiting
            waiting = {after for sha256 in waiting for after in steps.get(sha256, ())} - reached
        passed = reached & steps.keys()
        if passed:
            found[file] = Amended(frozenset(passed), frozenset(reached - passed))
    return found
