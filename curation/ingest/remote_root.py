"""A source root on an object store, or on anything else that fsspec knows."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO

from curation.errors import UsageError
from curation.ingest.facts import Facts, facts_from_info
from curation.storage import Store

_READ_AHEAD_BYTES = 4 << 20


class RemoteRoot:
    """A prefix and what lies below it.

    One folder is listed with one call (pages included), so a flat prefix is in memory while it is
    gone through. Keys with an empty part (`a//b`) cannot be named through fsspec and are left out;
    the markers that consoles write for empty folders are no files.

    Attributes:
        url: The prefix.
        skipped: Why entries were left out -> how many, over all scans so far.
    """

    def __init__(self, store: Store) -> None:
        self.url = store.url
        self.skipped: Counter[str] = Counter()
        self._fs = store.fs
        self._root = store.root

    def check(self) -> None:
        """Raise `UsageError` unless something is below the prefix."""
        try:
            kind = self._fs.info(self._root)["type"]
        except FileNotFoundError as error:
            message = f"source root {self.url}: nothing is there; correct source.roots"
            raise UsageError(message) from error
        except OSError as error:
            message = f"source root {self.url}: cannot be opened ({error.strerror or error})"
            raise UsageError(message) from error
        if kind == "file":
            message = f"source root {self.url}: not a folder; name the prefix of the images"
            raise UsageError(message)

    def uri(self, key: bytes) -> str:
        """Return the URL that the store's own tools take."""
        return str(self._fs.unstrip_protocol(self._path(key)))

    def scan(self, folder: bytes) -> Mapping[bytes, Facts | None]:
        """Return the names in `folder` with their facts; sub-folders end with `/` and have none.

        Raises:
            UsageError: The store refused to list it, or the whole root has gone.
        """
        path = self._path(folder).rstrip("/")
        try:
            listing = self._fs.ls(path, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            self.check()
            return {}
        except OSError as error:
            message = (
                f"{self.uri(folder)}: this part of the source cannot be listed "
                f"({error.strerror or error}), and nothing is left out silently; grant access to "
                "it, or move it out of the source, and run again"
            )
            raise UsageError(message) from error
        found: dict[bytes, Facts | None] = {}
        for info in listing:
            name = info["name"].removeprefix(path).removeprefix("/")
            is_folder = info["type"] == "directory"
            if name and "/" not in name:
                key = name.encode()
                if is_folder:
                    found[key + b"/"] = None
                else:
                    found[key] = facts_from_info(info)
            elif is_folder or info.get("size"):
                self.skipped["keys with an empty part"] += 1
        return found

    def facts(self, key: bytes) -> Facts | None:
        """Return what the store tells of the file `key`; null where it has gone."""
        try:
            key.decode()
        except UnicodeDecodeError:
            return None  # listed on a file system that this store has replaced
        try:
            info = self._fs.info(self._path(key))
        except FileNotFoundError:
            return None
        return facts_from_info(info) if info["type"] == "file" else None

    def read(self, key: bytes, max_bytes: int) -> tuple[Facts, bytes | None]:
        """Read a file: its facts, and its bytes; null where there are more than `max_bytes`.

        An object that is replaced between the two requests comes with the facts of the old one:
        the next ingest then lists it as changed.

        Raises:
            FileNotFoundError: It has gone. OSError: It cannot be read.
        """
        facts = self.facts(key)
        path = self._path(key)
        if facts is None:
            raise FileNotFoundError(path)
        bound = max_bytes if facts.size is None else facts.size
        if bound > max_bytes:
            return facts, None
        # A range of an empty object is an error on S3; one byte too many shows that it has grown.
        data = self._fs.cat_file(path, start=0, end=bound + 1) if bound else b""
        facts = Facts(len(data), facts.etag, facts.mtime_ns)
        return facts, data if len(data) <= max_bytes else None

    def reaches(self, key: bytes) -> bool:
        """Say whether `key` lies below the prefix; a store has no links."""
        return b".." not in key.split(b"/")

    @contextmanager
    def open(self, key: bytes) -> Iterator[tuple[Facts, IO[bytes]]]:
        """Open a file for random access, read ahead in large blocks, with its facts before."""
        facts = self.facts(key)
        path = self._path(key)
        if facts is None:
            raise FileNotFoundError(path)
        with self._fs.open(path, "rb", block_size=_READ_AHEAD_BYTES) as file:
            yield facts, file

    def read_range(self, key: bytes, start: int, stop: int) -> bytes:
        """Read a part of a file in one request, less where it ends earlier."""
        data = self._fs.cat_file(self._path(key), start=start, end=stop)
        assert isinstance(data, bytes)
        return data

    def _path(self, key: bytes) -> str:
        return f"{self._root}/{key.decode('utf-8', 'surrogateescape')}"
