"""Files that hold images inside: found below the roots, and named in keys as `file!inner`."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import ClassVar

from curation.errors import UsageError
from curation.ingest.config import RootsConfig
from curation.ingest.entries import Container, Entry, Line, Place, Taken, facts_json
from curation.ingest.identity import decode_key, encode_key
from curation.ingest.listing import list_files
from curation.ingest.roots import Root, open_roots
from curation.storage import Store

SEPARATOR = b"!"

Lister = Callable[[Root, Entry], Iterator[Entry]]
"""Lists what is in a file, by place; the file comes as an entry."""


class ArchiveSource(ABC):
    """A source whose images lie inside files below roots; lines come in the order of the files.

    Attributes:
        ending: Of the files' names, in lower case, such as `.tar`.
    """

    ending: ClassVar[bytes]

    def __init__(self, config: RootsConfig, dataset: Store | None = None) -> None:
        self._roots = open_roots(config, dataset)
        self._left_out: Counter[str] = Counter()

    @property
    def skipped(self) -> Counter[str]:
        return sum((root.skipped for root in self._roots), self._left_out.copy())

    def entries(self, after: Place) -> Iterator[Container]:
        return list_containers(self._roots, after, self.ending, self._list_file, self._other)

    def read(self, lines: Sequence[Line]) -> Iterator[Taken]:
        def file_of(line: Line) -> tuple[str, bytes]:
            return line["uri"], split_key(decode_key(line["key"]), self.ending)[0]

        for (uri, file), group in groupby(lines, file_of):
            yield from self._read_file(uri, file, list(group))

    def _other(self, file: Entry) -> None:
        """Count a file with another name."""
        self._left_out[f"files that are no {self.ending.decode()}"] += 1

    @abstractmethod
    def _list_file(self, root: Root, file: Entry) -> Iterator[Entry]:
        """List what is in a file, by place."""

    @abstractmethod
    def _read_file(self, uri: str, file: bytes, lines: list[Line]) -> Iterator[Taken]:
        """Read what lines of one file name, in order."""


def list_containers(
    roots: Sequence[Root],
    after: Place,
    ending: bytes,
    lister: Lister,
    other: Callable[[Entry], None],
) -> Iterator[Container]:
    """List the files whose names end with `ending`, in the order of the keys inside them.

    Args:
        after: Place to resume after, inside a file or before all.
        ending: In lower case, such as `.tar`; names are compared without case.
        lister: What is in one of them.
        other: Told of files with other names.

    Raises:
        UsageError: A key could be read in two ways, or the roots cannot be listed.
    """
    for file in list_files(roots, after.key, tail=SEPARATOR):
        if not file.key.lower().endswith(ending):
            other(file)
            continue
        if ending + SEPARATOR in file.key.lower():
            text = f"{ending.decode()}!"
            message = (
                f"{file.uri}: has {text!r} in its path, so the keys of its rows could be read in "
                "two ways; rename it"
            )
            raise UsageError(message)
        root = next(root for root in roots if root.uri(file.key) == file.uri)
        yield Container(
            file.key + SEPARATOR,
            facts_json(file.facts),
            _resumed(lister, root, file, after),
        )


def split_key(key: bytes, ending: bytes) -> tuple[bytes, bytes]:
    """Return the file and the inner key of `file!inner`."""
    at = key.lower().index(ending + SEPARATOR) + len(ending)
    return key[:at], key[at + 1 :]


def _resumed(
    lister: Lister, root: Root, file: Entry, after: Place
) -> Callable[[], Iterator[Entry]]:
    def entries() -> Iterator[Entry]:
        try:
            for entry in lister(root, file):
                if entry.place > after:
                    yield entry
        except FileNotFoundError:
            root.check()  # deleted since its folder was listed
        except OSError as error:
            message = (
                f"{file.uri}: cannot be read ({error.strerror or error}), and nothing is left out "
                f"silently; make {encode_key(file.key)!r} readable, or move it out of the source, "
                "and run again"
            )
            raise UsageError(message) from error

    return entries
