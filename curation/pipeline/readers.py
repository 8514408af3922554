"""Which folders of a dataset hold what was computed from another one, as their lineage says.

A dataset keeps the files of every pipeline that was ever applied to it, under every fingerprint.
Whoever rewrites a shard must know all that was computed from it, not only what today's pipeline
would read: a file that stays behind is taken for good when its pipeline is applied again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from curation.dataset import Dataset
from curation.fingerprint import Meaning
from schemas import dataset as paths


@dataclass(frozen=True)
class _Folder:
    """A configured stage as found on disk; null where `stage.json` is missing or unreadable."""

    instance: str
    lineage: Mapping[str, Any] | None


class Readers:
    """The lineage of all configured stages in a dataset, read once."""

    def __init__(self, dataset: Dataset) -> None:
        self._folders: dict[str, _Folder] = {}
        for instance in dataset.store.names(""):
            if instance not in paths.RESERVED_NAMES and "." not in instance:
                for fingerprint in dataset.store.names(instance):
                    path = paths.instance_folder(instance, fingerprint)
                    self._folders[path] = _Folder(instance, _lineage(dataset, path))

    def of_images(self) -> list[str]:
        """Return every folder: each file repeats the identities of its image shard."""
        return sorted(self._folders)

    def of(self, instance: str, fingerprint: str) -> list[str]:
        """Return the folders that were computed from one, directly or through others.

        A folder whose lineage cannot be read counts among them, since nobody knows.
        """
        source = paths.instance_folder(instance, fingerprint)
        found = {source}
        while True:
            meanings = {(name, m) for path in found for name, m in self._written(path)}
            more = {
                path
                for path, folder in self._folders.items()
                if folder.lineage is None or not meanings.isdisjoint(_read(folder.lineage))
            }
            if more <= found:
                return sorted(found - {source})
            found |= more

    def _written(self, path: str) -> set[tuple[str, str]]:
        """Return (instance, meaning) of each column in a folder."""
        folder = self._folders.get(path)
        if folder is None or folder.lineage is None:
            return set()
        meaning = _meaning(folder.lineage)
        return {(folder.instance, meaning.column(name)) for name in meaning.columns}


def _read(lineage: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Return (instance, meaning) of each column that a folder was computed from."""
    return {(c["column"].partition(".")[0], c["meaning"]) for c in lineage["reads"].values()}


def _meaning(lineage: Mapping[str, Any]) -> Meaning:
    return Meaning(
        stage=lineage["stage"],
        backends=lineage["backends"],
        config=lineage["config"],
        digests=lineage["digests"],
        artifact=lineage["artifact"],
        columns=lineage["columns"],
        pixels=lineage["pixels"],
        reads={logical: read["meaning"] for logical, read in lineage["reads"].items()},
    )


def _lineage(dataset: Dataset, path: str) -> Mapping[str, Any] | None:
    try:
        lineage = json.loads(dataset.store.read(f"{path}/stage.json"))
        if _meaning(lineage).fingerprint() == path.rsplit("/", 1)[-1]:
            return dict(lineage)
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        pass  # told apart from a sound one by the caller
    return None
