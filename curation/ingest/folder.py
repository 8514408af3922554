"""`kind: folder`: every file below the roots is an image."""

import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

from curation.ingest.config import RootsConfig
from curation.ingest.endings import IMAGES, SIDECARS, ending_of
from curation.ingest.entries import Entry, Line, Place, Taken, version_of
from curation.ingest.identity import decode_key
from curation.ingest.listing import Scanned, list_files
from curation.ingest.roots import Root, open_roots
from curation.ingest.take import find_root, take_file
from curation.ingest.texts import MAX_SIDECAR_BYTES, read_sidecars
from curation.storage import Store
from schemas.error_codes import row_error

_log = logging.getLogger(__name__)


class FolderConfig(RootsConfig):
    """Files below folders or prefixes.

    Attributes:
        sidecars: Whether `cat.txt` and `cat.json` beside `cat.jpg` are its caption and its facts
            instead of rows of their own.
        caption_key: Key of a `.json` side-car that holds the caption where there is no `.txt`.
        license_key: Key of a `.json` side-car that holds the licence.
    """

    kind: Literal["folder"] = "folder"
    sidecars: bool = True
    caption_key: str = "caption"
    license_key: str = "license"


class FolderSource:
    """Every file is a row, whatever it holds: that is for the stages to say.

    Only a `.txt` or `.json` beside a file with the same stem and an image's ending is no row. Its
    version is part of the image's, so that a new caption makes the image `changed`.

    Args:
        roots: Where to list and read; null opens those of `config`.
    """

    def __init__(
        self,
        config: FolderConfig,
        dataset: Store | None = None,
        roots: Sequence[Root] | None = None,
    ) -> None:
        self._config = config
        self._roots = open_roots(config, dataset) if roots is None else list(roots)
        self._beside: dict[bytes, tuple[Root, list[str]]] = {}

    @property
    def skipped(self) -> Counter[str]:
        return sum((root.skipped for root in self._roots), Counter())

    def entries(self, after: Place) -> Iterator[Entry]:
        if not self._config.sidecars:
            yield from list_files(self._roots, after.key)
            return
        for entry in list_files(self._roots, after.key, sift=self._set_aside):
            if entry.key in self._beside:
                root, endings = self._beside.pop(entry.key)
                versions = {}
                for ending in endings:
                    facts = root.facts(_beside(entry.key, ending))
                    if facts is not None:
                        versions[ending] = version_of(facts)
                if versions:
                    entry = replace(entry, sidecars=json.dumps(versions, separators=(",", ":")))
            yield entry

    def read(self, lines: Sequence[Line]) -> Iterator[Taken]:
        for line in lines:
            key = decode_key(line["key"])
            taken = take_file(line, key, self._roots, self._config.max_file_bytes)
            if line["sidecars"] is not None and taken.data is not None:
                taken = self._with_texts(taken, key, json.loads(line["sidecars"]))
            yield taken

    def _set_aside(self, root: Root, folder: bytes, names: Scanned) -> Scanned:
        """Take the side-cars out of a folder's names, and keep whose they are."""
        aside: set[bytes] = set()
        for name in names:
            if ending_of(name) in IMAGES:
                endings = [ending for ending in SIDECARS if _beside(name, ending) in names]
                if endings:
                    self._beside[folder + name] = (root, endings)
                    aside.update(_beside(name, ending) for ending in endings)
        return {name: facts for name, facts in names.items() if name not in aside}

    def _with_texts(self, taken: Taken, key: bytes, versions: dict[str, Any]) -> Taken:
        """Read the side-cars that were listed; one that differs makes the row `changed`."""
        root = find_root(taken.uri, key, self._roots)
        parts: dict[str, bytes | None] = {}
        for ending, version in versions.items():
            try:
                assert root is not None
                facts, parts[ending] = root.read(_beside(key, ending), MAX_SIDECAR_BYTES)
            except (FileNotFoundError, NotADirectoryError):
                return Taken(taken.uri, error=row_error("changed"))
            except OSError as error:
                _log.warning("%s: side-car .%s cannot be read: %s", taken.uri, ending, error)
                return Taken(taken.uri, error=row_error("unavailable"))
            if version_of(facts) != version:
                return Taken(taken.uri, error=row_error("changed"))
        texts = read_sidecars(parts, self._config.caption_key, self._config.license_key)
        return replace(
            taken, alt_text=texts.alt_text, license=texts.license, metadata=texts.metadata
        )


def _beside(key: bytes, ending: str) -> bytes:
    """Return the name of an image's side-car."""
    return key[: key.rindex(b".") + 1] + ending.encode()
