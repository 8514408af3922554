"""The roots of a source: opened, and refused with a sentence where they cannot be."""

import os
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import PurePosixPath
from typing import IO, Protocol

from curation.config import nearest
from curation.errors import ConfigError
from curation.ingest.config import RootsConfig
from curation.ingest.facts import Facts
from curation.ingest.local_root import LocalRoot
from curation.ingest.remote_root import RemoteRoot
from curation.storage import Store


class Root(Protocol):
    """Where files are listed and read; `LocalRoot` and `RemoteRoot` say what each call does."""

    url: str
    skipped: Counter[str]

    def check(self) -> None: ...

    def uri(self, key: bytes) -> str: ...

    def scan(self, folder: bytes) -> Mapping[bytes, Facts | None]: ...

    def facts(self, key: bytes) -> Facts | None: ...

    def read(self, key: bytes, max_bytes: int) -> tuple[Facts, bytes | None]: ...

    def reaches(self, key: bytes) -> bool: ...

    def open(self, key: bytes) -> AbstractContextManager[tuple[Facts, IO[bytes]]]: ...

    def read_range(self, key: bytes, start: int, stop: int) -> bytes: ...


def open_roots(source: RootsConfig, dataset: Store | None = None) -> list[Root]:
    """Open the roots of `source`, in the order given.

    Args:
        dataset: Where the dataset lies, to refuse a root that holds it or lies in it.

    Raises:
        ConfigError: A root is chained, of a protocol that `source.protocols` does not name, with
            credentials in it, or holds the dataset or lies in it.
        UsageError: A root is missing or no folder.
    """
    roots: list[Root] = []
    for url in source.roots:
        _check_url(url, source.protocols)
        store = Store(url)
        if dataset is not None:
            _check_apart(store, dataset)
        root: Root = LocalRoot(store.root) if store.is_local else RemoteRoot(store)
        root.check()
        roots.append(root)
    return roots


def check_protocol(url: str, protocols: tuple[str, ...], where: str) -> None:
    """Refuse a URL of a protocol that the user has not allowed.

    Raises:
        ConfigError: It is not one of `protocols`.
    """
    scheme, separator, _ = url.partition("://")
    protocol = scheme if separator else "file"
    if protocol not in protocols:
        message = (
            f"{where}: {protocol!r} is not among source.protocols ({', '.join(protocols)})"
            f"{nearest(protocol, protocols)}; add it there if files may be read that way"
        )
        raise ConfigError(message)


def _check_url(url: str, protocols: tuple[str, ...]) -> None:
    if not url:
        message = "source.roots: an empty text is no folder; name one"
        raise ConfigError(message)
    if "::" in url:
        message = f"source.roots: {url}: chained URLs are not accepted; name one folder or prefix"
        raise ConfigError(message)
    check_protocol(url, protocols, f"source.roots: {_without_credentials(url)}")
    if _without_credentials(url) != url:
        message = (
            f"source.roots: {_without_credentials(url)}: has credentials in it, and roots are "
            "stored; give them through the environment"
        )
        raise ConfigError(message)


def _without_credentials(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator or scheme == "file":
        return url
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def _check_apart(root: Store, dataset: Store) -> None:
    if root.is_local != dataset.is_local or root.fs.protocol != dataset.fs.protocol:
        return
    there, here = _place(root), _place(dataset)
    if there == here or there.is_relative_to(here):
        found = "lies in the dataset"
    elif here.is_relative_to(there):
        found = "holds the dataset"
    else:
        return
    message = (
        f"source.roots: {root.url} {found} {dataset.url}, which would take in its own files; "
        "keep the two apart"
    )
    raise ConfigError(message)


def _place(store: Store) -> PurePosixPath:
    return PurePosixPath(os.path.realpath(store.root) if store.is_local else store.root)
