"""A source root on a local file system.

Names are raw bytes throughout, since a file name need not be text in any encoding.
"""
# pathlib takes text only.
# ruff: noqa: PTH112, PTH113, PTH116

import errno
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO

from curation.errors import StorageError, UsageError
from curation.ingest.facts import Facts
from curation.ingest.identity import decode_key, encode_key
from curation.storage import TEMPORARY

SCHEME = "file://"

_OURS = re.compile(re.escape(TEMPORARY.encode()) + rb"[0-9a-f]{32}")
_GONE = (FileNotFoundError, NotADirectoryError)


class LocalRoot:
    """A folder and what lies below it, never beyond.

    A symbolic link to a file below the same root is a file of its own. Links to folders are not
    entered: what they show is listed where it lies, or lies outside. Links out of the root and
    links to nothing are left out, as are sockets, pipes and devices, and our own temporary files.

    Attributes:
        url: The folder's absolute path.
        skipped: Why entries were left out -> how many, over all scans so far.
    """

    def __init__(self, path: str) -> None:
        self.url = path
        self.skipped: Counter[str] = Counter()
        self._base = os.fsencode(path).rstrip(b"/")
        self._real = os.path.realpath(self._base or b"/")

    def check(self) -> None:
        """Raise `UsageError` unless the folder is there."""
        if not os.path.lexists(self._base or b"/"):
            message = f"source root {self.url}: no such folder; mount it, or correct source.roots"
            raise UsageError(message)
        if not os.path.isdir(self._base or b"/"):
            message = f"source root {self.url}: not a folder; name the folder that holds the images"
            raise UsageError(message)

    def uri(self, key: bytes) -> str:
        """Return `file://` and the absolute path, encoded as keys are."""
        return SCHEME + encode_key(self._path(key))

    def scan(self, folder: bytes) -> Mapping[bytes, Facts | None]:
        """Return the names in `folder` (`b""` or a key that ends with `/`), folders with a `/`.

        Raises:
            UsageError: The folder cannot be read, or the whole root has gone.
        """
        found: dict[bytes, Facts | None] = {}
        try:
            with os.scandir(self._path(folder) or b"/") as entries:
                for entry in entries:
                    if kept := self._name(entry):
                        found[kept] = None
        except _GONE:
            self.check()  # one folder may be deleted meanwhile; a lost mount must not look empty
            return {}
        except OSError as error:
            raise self._unlistable(folder, error) from error
        return found

    def _unlistable(self, key: bytes, error: OSError) -> UsageError:
        message = (
            f"{encode_key(self._path(key))}: this part of the source cannot be listed "
            f"({os.strerror(error.errno or 0)}), and nothing is left out silently; give this user "
            "the right to read it, or move it out of the source, and run again"
        )
        return UsageError(message)

    def _name(self, entry: "os.DirEntry[bytes]") -> bytes | None:
        if entry.is_dir(follow_symlinks=False):
            return entry.name + b"/"
        if entry.is_file(follow_symlinks=False):
            if _OURS.fullmatch(entry.name):
                self.skipped["unfinished temporary files"] += 1
                return None
            return entry.name
        if not entry.is_symlink():
            self.skipped["sockets, pipes and devices"] += 1
            return None
        target = os.path.realpath(entry.path)
        if not self._holds(target):
            self.skipped["links that leave the root"] += 1
        elif os.path.isdir(target):
            self.skipped["links to folders of the same root"] += 1
        elif not os.path.isfile(target):
            self.skipped["links to nothing"] += 1
        else:
            return entry.name
        return None

    def facts(self, key: bytes) -> Facts | None:
        """Return what is known of the file `key` without reading it; null where it has gone.

        Raises:
            UsageError: Not even that may be known.
        """
        try:
            return _facts(os.stat(self._path(key)))
        except _GONE:
            return None
        except OSError as error:
            raise self._unlistable(key, error) from error

    def read(self, key: bytes, max_bytes: int) -> tuple[Facts, bytes | None]:
        """Read a file that lies, after following links, below the root.

        Returns:
            Its facts after reading, and its bytes; null where there are more than `max_bytes`.

        Raises:
            FileNotFoundError: It has gone, is no plain file now, or has come to lie outside.
            OSError: It cannot be read (`NotADirectoryError`: a folder above it is now a file).
        """
        path = os.path.realpath(self._path(key))
        if not self._holds(path):
            raise FileNotFoundError(errno.ENOENT, "outside the source root", path)
        return read_file(path, max_bytes)

    def reaches(self, key: bytes) -> bool:
        """Say whether `key` lies, after following links, below the root."""
        return self._holds(os.path.realpath(self._path(key)))

    @contextmanager
    def open(self, key: bytes) -> Iterator[tuple[Facts, IO[bytes]]]:
        """Open a file for random access, with its facts; refused as in `read`."""
        path = os.path.realpath(self._path(key))
        if not self._holds(path):
            raise FileNotFoundError(errno.ENOENT, "outside the source root", path)
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise FileNotFoundError(errno.ENOENT, "no plain file", path)
            with open(handle, "rb", closefd=False) as file:
                yield _facts(status), file
        finally:
            os.close(handle)

    def read_range(self, key: bytes, start: int, stop: int) -> bytes:
        """Read a part of a file, less where it ends earlier; refused as in `read`."""
        with self.open(key) as (_, file):
            file.seek(start)
            return file.read(stop - start)

    def _path(self, key: bytes) -> bytes:
        return self._base + b"/" + key

    def _holds(self, path: bytes) -> bool:
        return path.startswith(self._real.rstrip(b"/") + b"/")


def read_file(
    path: bytes, max_bytes: int, offset: int = 0, length: int | None = None
) -> tuple[Facts, bytes | None]:
    """Read a plain file, or `length` bytes of it at `offset`; see `LocalRoot.read`."""
    # O_NONBLOCK: whatever has taken the place of the listed file, a pipe must not hold us.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        before = os.fstat(handle)
        if not stat.S_ISREG(before.st_mode):
            raise FileNotFoundError(errno.ENOENT, "no plain file", path)
        wanted = max(before.st_size - offset, 0) if length is None else length
        if wanted > max_bytes:
            return _facts(before), None
        with open(handle, "rb", closefd=False) as file:
            file.seek(offset)
            data = file.read(wanted + 1 if length is None else wanted)
        facts = _facts(os.fstat(handle))
    finally:
        os.close(handle)
    if length is None and offset == 0:
        # Taken after reading, so a file written to meanwhile shows another time or size.
        facts = Facts(len(data), None, facts.mtime_ns)
    return facts, data


def path_of(uri: str) -> bytes:
    """Return the path that `LocalRoot.uri` encoded."""
    if not uri.startswith(f"{SCHEME}/"):
        message = f"{uri}: expected {SCHEME} and an absolute path"
        raise StorageError(message)
    return decode_key(uri.removeprefix(SCHEME))


def _facts(status: os.stat_result) -> Facts:
    return Facts(status.st_size, None, status.st_mtime_ns)
