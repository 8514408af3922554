"""Weights at a URL: a file or a folder that fsspec can read."""

import errno
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curation.errors import ConfigError, LongtailError, MissingWeightsError
from curation.storage import Stamp, Store
from curation.weights.digest import SUFFIXES, chosen
from curation.weights.reference import Reference

_log = logging.getLogger(__name__)

_SAID_BYTES = 1 << 30
_DISK = frozenset({errno.EDQUOT, errno.ENOSPC, errno.EROFS})
_PAGE = (b"<!doctype html", b"<html")


def look(reference: Reference) -> dict[str, Stamp]:
    """Return the files at a URL that count, with what tells their content from another's.

    Returns:
        Path below the URL -> stamp; the path is empty where the URL itself is a file.

    Raises:
        MissingWeightsError: There is nothing, or the store cannot be reached.
        ConfigError: There is nothing that counts.
    """
    url = reference.text
    try:
        found = Store(url).stamps("")
    except FileNotFoundError as error:
        because = f" ({error.__cause__})" if error.__cause__ else ""
        message = f"{url}: there is nothing to be had{because}; check the address"
        raise MissingWeightsError(message) from error
    except (LongtailError, OSError) as error:
        raise MissingWeightsError(_sentence(url, error)) from error
    if "" in found:
        return found
    names = chosen(list(found))
    if not names:
        message = f"{url}: there are no weights (no {', '.join(sorted(SUFFIXES))} file)"
        raise ConfigError(message)
    for name in names:
        if not set(name.split("/")).isdisjoint({"", ".", ".."}):
            message = f"{url}: {name!r} is no name for a file on this machine; rename it"
            raise ConfigError(message)
    return {name: found[name] for name in names}


def fetch_url(reference: Reference, target: Path) -> Mapping[str, Any]:
    """Copy what lies at a URL to `target`; return its stamps.

    Raises:
        ConfigError: It cannot be had; or it changed, or came in part only.
    """
    url = reference.text
    remove(target)  # what a killed fetch left
    before = look(reference)
    total = sum(stamp["size"] or 0 for stamp in before.values())
    check_room(url, total, target.parent)
    if total >= _SAID_BYTES:
        _log.warning("%s: fetching %.1f GiB to %s", url, total / (1 << 30), target.parent.parent)
    store = Store(url)
    try:
        for name, stamp in before.items():
            file = target / name if name else target
            file.parent.mkdir(parents=True, exist_ok=True)
            _copy(store, name, file, stamp)
        if look(reference) != before:
            message = f"{url}: changed while it was fetched; run the same command again"
            raise ConfigError(message)
    except BaseException as error:
        remove(target)
        is_ours = isinstance(error, ConfigError) or is_of_disk(error)
        if is_ours or not isinstance(error, LongtailError | OSError):
            raise
        raise MissingWeightsError(_sentence(url, error)) from error
    return before


def is_of_disk(error: BaseException) -> bool:
    """Say whether this machine's disk, and not the other side, is the trouble."""
    return isinstance(error, OSError) and error.errno in _DISK


def check_room(what: str, num_bytes: int, folder: Path) -> None:
    """Refuse to fetch what the disk cannot hold.

    Raises:
        ConfigError: Says how much there is and how much is needed.
    """
    free = shutil.disk_usage(folder).free
    if free < num_bytes:
        message = (
            f"{what}: takes {num_bytes / (1 << 30):.1f} GiB, and {folder} has "
            f"{free / (1 << 30):.1f} GiB left; free some, or set LONGTAIL_CACHE to another folder"
        )
        raise MissingWeightsError(message)


def _copy(store: Store, name: str, file: Path, stamp: Stamp) -> None:
    store.download(name, file)
    found = file.stat().st_size
    if stamp["size"] is not None and found != stamp["size"]:
        message = (
            f"{store.uri(name)}: {found:,} bytes came of {stamp['size']:,}; run the same command "
            "again"
        )
        raise ConfigError(message)
    with file.open("rb") as head:
        if head.read(64).lstrip().lower().startswith(_PAGE):
            message = (
                f"{store.uri(name)}: is a web page and no weights; name the address of the file "
                "itself"
            )
            raise ConfigError(message)


def _sentence(url: str, error: Exception) -> str:
    words = " ".join(str(error).split())
    return words if url in words else f"{url}: the weights cannot be fetched ({words})"


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
