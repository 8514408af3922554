"""The only module that knows URLs, atomic writes and exclusive creation.

A file that exists is complete. Locally it is written as `.tmp-<uuid>` in the same folder, synced
and renamed; on an object store it is one put. Nothing else may open a file of a dataset for
writing: `with fs.open(path, "wb")` commits half a file when its body raises.
"""

import datetime as dt
import errno
import logging
import os
import re
import shutil
import stat
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

import fsspec

from curation.errors import StorageError, UsageError
from curation.urls import check_url, redacted

_log = logging.getLogger(__name__)

fault_hook: Callable[[str, str], None] | None = None
"""Called with (`before` | `written` | `after`, path) around every commit; tests kill there.

Writing a file is a commit, and so is deleting one.
"""

TEMPORARY = ".tmp-"

ABANDONED_S = 24 * 3600
"""Age after which a temporary file counts as left behind: writing one takes minutes at most."""

_OURS = re.compile(re.escape(TEMPORARY) + "[0-9a-f]{32}")
_FOREIGN = (
    ("botocore.exceptions", "BotoCoreError"),
    ("aiohttp.client_exceptions", "ClientError"),
    ("google.auth.exceptions", "GoogleAuthError"),
    ("azure.core.exceptions", "AzureError"),
)
"""What the libraries below fsspec raise when a store cannot be reached or knows no credentials."""

_TAGS = (
    "ETag",
    "etag",
    "md5Hash",
    "Content-MD5",
    "LastModified",
    "Last-Modified",
    "mtime",
    "created",
)
"""Under these names, file systems tell what a file's content, or time, is."""

_PIECES_BYTES = 64 << 20
_PIECE_BYTES = 4 << 20

Data = bytes | memoryview
Stamp = Mapping[str, Any]


def _fault(point: str, path: str) -> None:
    if fault_hook is not None:
        fault_hook(point, path)


def _foreign_errors() -> tuple[type[Exception], ...]:
    """Return those of `_FOREIGN` that are loaded; no other can have been raised."""
    modules = ((sys.modules.get(module), name) for module, name in _FOREIGN)
    return tuple(getattr(module, name) for module, name in modules if module is not None)


@contextmanager
def reaching(where: str) -> Iterator[None]:
    """Turn a store's silence into a sentence: no network, no such endpoint, no credentials.

    Raises:
        StorageError: The library below fsspec gave up with an error of its own.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, _foreign_errors()):
            raise
        words = redacted(" ".join(str(error).split()).rstrip("."))
        message = (
            f"{where}: the store cannot be reached ({words}); check the network, the endpoint and "
            "the credentials in the environment"
        )
        raise StorageError(message) from error


@contextmanager
def _explained(action: str, where: str, *, is_local: bool) -> Iterator[None]:
    """Turn a refusal of the operating system or store into a sentence that says what to do."""
    try:
        with reaching(where):
            yield
    except FileNotFoundError as error:
        if action == "read":
            raise
        hint = "the folder cannot be made" if is_local else "there is no such bucket"
        message = f"{where}: cannot {action}: {hint}; name another one"
        raise StorageError(message) from error
    except OSError as error:
        hints = {
            errno.ENOSPC: "no space is left; free some and run the same command again: finished "
            "shards are kept",
            errno.EDQUOT: "the disk quota is used up; free some and run the same command again",
            errno.EACCES: "permission was denied; give this user the right to write there, or name "
            "another folder",
            errno.EPERM: "permission was denied; name another folder",
            errno.EROFS: "the file system is read-only; name another folder",
            errno.ENOTDIR: "a part of the path is a file, not a folder; name another folder",
            errno.EEXIST: "a file lies where a folder is needed; name another folder",
            errno.EISDIR: "a folder lies where the file should be; name another folder",
        }
        hint = hints.get(error.errno or 0, f"the store said: {error.strerror or error}")
        message = f"{where}: cannot {action}: {hint}"
        raise StorageError(message) from error


class Store:
    """A folder or object-store prefix, addressed by relative paths with `/`.

    Attributes:
        fs: The fsspec file system.
        is_local: Whether it is this machine's.
        root: The file system's own path of the root.
        url: The root as a URL; a plain path where it is local.
        sweeps: Whether `names` removes what killed writers left behind a day ago or longer, in the
            local folders that it lists anyway. Set where a run starts; readers change nothing.

    Args:
        url: A local path, or any fsspec URL such as `s3://bucket/prefix` or `memory://x`.

    Raises:
        UsageError: The URL has credentials in it, is chained (`::`), or its protocol is not
            installed.
    """

    def __init__(self, url: str) -> None:
        check_url(url, "URL")
        if "::" in url:
            message = f"{url}: chained URLs are not accepted; name one folder or prefix"
            raise UsageError(message)
        try:
            fs, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            extra = "; run `pip install 'longtail[s3]'`" if url.startswith("s3:") else ""
            message = f"{url}: this kind of URL cannot be opened ({error}){extra}"
            raise UsageError(message) from error
        self.fs: Any = fs
        self.is_local = "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)
        self.root: str = os.path.abspath(root) if self.is_local else root.rstrip("/")
        self.url: str = self.root if self.is_local else fs.unstrip_protocol(self.root)
        self.sweeps = False

    def __reduce__(self) -> tuple[type["Store"], tuple[str]]:
        """Travel between processes as the URL."""
        return Store, (self.url,)

    def path(self, name: str) -> str:
        """Return the file system's own path of `name`; `""` is the root."""
        if name.startswith("/") or ".." in name.split("/"):
            message = f"{name!r} leaves {self.url}"
            raise StorageError(message)
        return f"{self.root}/{name}" if name else self.root

    def uri(self, name: str) -> str:
        """Return an address of `name` that DuckDB and people understand."""
        return self.path(name) if self.is_local else self.fs.unstrip_protocol(self.path(name))

    def local(self, name: str) -> Path:
        """Return `name` as a local path; only for stores that are local."""
        assert self.is_local, self.url
        return Path(self.path(name))

    # Reading ---------------------------------------------------------------------------------

    def exists(self, name: str) -> bool:
        """Say whether the file or folder `name` is there."""
        with self._explained("read", name):
            return bool(self.fs.exists(self.path(name)))

    def size(self, name: str) -> int:
        """Return the size of the file `name` in bytes; `FileNotFoundError` where there is none."""
        with self._explained("read", name):
            return int(self.fs.size(self.path(name)))

    def read(self, name: str) -> bytes:
        """Return the whole file `name`; `FileNotFoundError` where there is none."""
        with self._explained("read", name):
            if self.is_local:
                return Path(self.path(name)).read_bytes()
            return cast(bytes, self.fs.cat_file(self.path(name)))

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Open the file `name` for random access; `FileNotFoundError` where there is none."""
        if self.is_local:
            with Path(self.path(name)).open("rb") as file:
                yield file
        else:
            with reaching(self.uri(name)), self.fs.open(self.path(name), "rb") as file:
                yield file

    def version(self, file: IO[bytes]) -> tuple[Any, ...] | None:
        """Return what tells an opened file from one that took its place; null where nothing does.

        Locally number, size and time of the file; on an object store the tag of its content.
        """
        if self.is_local:
            status = os.fstat(file.fileno())
            return status.st_ino, status.st_size, status.st_mtime_ns
        tag = (getattr(file, "details", None) or {}).get("ETag")
        return None if tag is None else (tag,)

    def names(self, folder: str) -> list[str]:
        """Return the names directly below `folder`, in byte order; empty where it is missing."""
        path = self.path(folder)
        if self.is_local:
            with self._explained("list", folder):
                try:
                    found = os.listdir(path)
                except (FileNotFoundError, NotADirectoryError):
                    return []
            if self.sweeps:
                _sweep(path, found)
        else:
            with self._explained("list", folder):
                try:
                    listing = self.fs.ls(path, detail=False)
                except (FileNotFoundError, NotADirectoryError):
                    return []
            found = [entry.rstrip("/").rsplit("/", 1)[-1] for entry in listing]
        return sorted(name for name in found if name and not name.startswith(TEMPORARY))

    def files(self, folder: str) -> list[str]:
        """Return every file below `folder`, relative to the store's root, in byte order."""
        path = self.path(folder)
        if not self.exists(folder):
            return []
        prefix = f"{self.root}/"
        with self._explained("list", folder):
            found = [entry.removeprefix(prefix) for entry in self.fs.find(path)]
        return sorted(name for name in found if not name.rsplit("/", 1)[-1].startswith(TEMPORARY))

    def details(self, name: str) -> dict[str, tuple[int, dt.datetime]]:
        """Return file -> (bytes, when it was written) for `name` or, a folder, all below it."""
        path = self.path(name)
        if not self.exists(name):
            return {}
        prefix = f"{self.root}/"
        with self._explained("list", name):
            found = self.fs.find(path, detail=True)
        return {
            entry.removeprefix(prefix): (int(facts["size"] or 0), self._written(entry, facts))
            for entry, facts in sorted(found.items())
        }

    def stamps(self, name: str) -> dict[str, Stamp]:
        """Return file -> what tells its content from another's, for `name` or all below it.

        The file that is the store's root is called `""`. `FileNotFoundError` where nothing is.
        """
        path = self.path(name)
        with self._explained("read", name):
            info = self.fs.info(path)
            is_file = info["type"] == "file"
            found = {path: info} if is_file else self.fs.find(path, detail=True)
        return {
            "" if entry == self.root else entry.removeprefix(f"{self.root}/"): {
                "size": facts["size"],
                **{tag: _tag(facts[tag]) for tag in _TAGS if facts.get(tag)},
            }
            for entry, facts in sorted(found.items())
        }

    def download(self, name: str, target: Path) -> None:
        """Copy the file `name` to this machine, piece by piece; `OSError` if that goes wrong.

        A web server is asked for one piece at a time where the file is large, since fsspec gives
        one request five minutes. A copy that ends early may pass unnoticed: compare the size.
        """
        path = self.path(name)
        with reaching(self.uri(name)):
            if "http" in self.fs.protocol and (self.fs.size(path) or 0) > _PIECES_BYTES:
                try:
                    with self.fs.open(path, "rb") as source, target.open("wb") as file:
                        shutil.copyfileobj(source, file, _PIECE_BYTES)
                except ValueError:  # it knows no ranges
                    self.fs.get_file(path, str(target))
            else:
                self.fs.get_file(path, str(target))

    def _written(self, path: str, facts: Mapping[str, Any]) -> dt.datetime:
        for key in ("mtime", "LastModified", "last_modified"):
            value = facts.get(key)
            if isinstance(value, int | float):
                return dt.datetime.fromtimestamp(value, dt.UTC)
            if isinstance(value, dt.datetime):
                return value
        modified: dt.datetime = self.fs.modified(path)
        return modified if modified.tzinfo is not None else modified.replace(tzinfo=dt.UTC)

    # Writing ---------------------------------------------------------------------------------

    def put(self, name: str, data: Data) -> None:
        """Write `name` whole, replacing what was there.

        Raises:
            StorageError: No space, no permission, or the store refused.
        """
        _fault("before", name)
        with self._explained("write", name):
            if self.is_local:
                temporary = self._write_temporary(name, data)
                try:
                    _fault("written", name)
                    os.replace(temporary, self.path(name))
                except OSError:
                    os.unlink(temporary)
                    raise
                self._sync_folder(name)
            else:
                self.fs.pipe_file(self.path(name), bytes(data))
        _fault("after", name)

    def create(self, name: str, data: Data | Path) -> bool:
        """Write `name` whole if nobody has; return whether this call did.

        Of any number of racing calls exactly one returns true.

        Args:
            name: The file.
            data: What to write; a local file is copied piece by piece.
        """
        _fault("before", name)
        with self._explained("write", name):
            if self.is_local:
                temporary = self._write_temporary(name, data)
                try:
                    _fault("written", name)
                    os.link(temporary, self.path(name))
                except FileExistsError:
                    return False
                finally:
                    os.unlink(temporary)
                self._sync_folder(name)
            else:
                try:
                    if isinstance(data, Path):
                        self.fs.put_file(str(data), self.path(name), mode="create")
                    else:
                        self.fs.pipe_file(self.path(name), bytes(data), mode="create")
                except FileExistsError:
                    return False
        _fault("after", name)
        return True

    def delete(self, name: str) -> None:
        """Remove the file `name`; nothing happens where there is none."""
        _fault("before", name)
        with self._explained("delete", name):
            try:
                self.fs.rm_file(self.path(name))
            except FileNotFoundError:
                return
        _fault("after", name)

    def prune(self, folder: str) -> None:
        """Remove the empty folders below `folder`, itself and above; object stores have none."""
        if not self.is_local:
            return
        path = self.path(folder)
        for below, _, _ in os.walk(path, topdown=False):
            with suppress(OSError):  # not empty
                os.rmdir(below)
        path = os.path.dirname(path)
        while path != self.root:
            try:
                os.rmdir(path)
            except OSError:
                return
            path = os.path.dirname(path)

    def _explained(self, action: str, name: str) -> AbstractContextManager[None]:
        return _explained(action, self.uri(name), is_local=self.is_local)

    def _write_temporary(self, name: str, data: Data | Path) -> str:
        target = self.path(name)
        folder = os.path.dirname(target)
        os.makedirs(folder, exist_ok=True)
        temporary = f"{folder}/{TEMPORARY}{uuid.uuid4().hex}"
        try:
            with open(temporary, "xb") as file:
                if isinstance(data, Path):
                    with data.open("rb") as source:
                        shutil.copyfileobj(source, file)
                else:
                    file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            if os.path.exists(temporary):
                os.unlink(temporary)
            raise
        return temporary

    def _sync_folder(self, name: str) -> None:
        handle = os.open(os.path.dirname(self.path(name)), os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _tag(value: Any) -> str:
    """Word a time or a tag; a file system may give the same time as two types."""
    return str(value.timestamp() if isinstance(value, dt.datetime) else value)


def _sweep(folder: str, names: Sequence[str]) -> None:
    """Remove the temporary files among `names` that no living writer can be at."""
    before = time.time() - ABANDONED_S
    for name in filter(_OURS.fullmatch, names):
        path = f"{folder}/{name}"
        try:
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode) and status.st_mtime < before:
                os.unlink(path)
        except FileNotFoundError:
            continue  # another run was quicker
        except OSError as error:
            _log.warning("%s: left behind and cannot be removed: %s", path, error.strerror)
