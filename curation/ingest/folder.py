"""`kind: folder`: every file below the roots is an image."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

from curation.ingest.config import RootsConfig
from curation.ingest.entries import Entry, Line, Place, Taken
from curation.ingest.identity import decode_key
from curation.ingest.listing import list_files
from curation.ingest.roots import Root, open_roots
from curation.ingest.take import take_file
from curation.storage import Store


class FolderConfig(RootsConfig):
    """Files below folders or prefixes."""

    kind: Literal["folder"] = "folder"


class FolderSource:
    """Every file is a row, whatever it holds: that is for the stages to say.

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

    @property
    def skipped(self) -> Counter[str]:
        return sum((root.skipped for root in self._roots), Counter())

    def entries(self, after: Place) -> Iterator[Entry]:
        yield from list_files(self._roots, after.key)

    def read(self, lines: Sequence[Line]) -> Iterator[Taken]:
        for line in lines:
            yield take_file(line, decode_key(line["key"]), self._roots, self._config.max_file_bytes)
