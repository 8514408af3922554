"""The folder in which a machine keeps weights that it fetched.

    weights/<name>-<digest of the reference>/<name>         the file or folder
    weights/<name>-<digest of the reference>/.source.json   what it was copied from
    digests/                                                see `curation.weights.digest`
    <whatever>/                                             see `made_once`

A folder that has its name is whole: it is filled under another one first.
"""

import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any

from curation.errors import ConfigError, MissingWeightsError
from curation.fingerprint import digest, pretty_json
from curation.storage import ABANDONED_S
from curation.weights.lock import alone
from curation.weights.reference import Reference

CACHE_VARIABLE = "LONGTAIL_CACHE"
"""Names the folder; `~/.cache/longtail` without it."""

_SOURCE = ".source.json"
_PARTIAL = ".partial"
_WORTH_KEEPING_BYTES = 16 << 20

Fetch = Callable[[Path], Mapping[str, Any]]
"""Fetches weights to a path where nothing is, or what a killed fetch left; returns their source.

That is, file -> at least its `size`, which may be null; `""` where the path itself is a file.
"""


def cache_folder() -> Path:
    """Return the folder in which this machine keeps weights and what it knows of them.

    Raises:
        ConfigError: It is not named, and this user has no home.
    """
    try:
        named = os.environ.get(CACHE_VARIABLE)
        return Path(named).expanduser() if named else Path.home() / ".cache" / "longtail"
    except RuntimeError as error:
        message = f"this user has no home to keep weights in; set {CACHE_VARIABLE} to a folder"
        raise MissingWeightsError(message) from error


def memory_folder() -> Path | None:
    """Return the folder in which digests are remembered; null where there is none to be had."""
    try:
        return cache_folder() / "digests"
    except ConfigError:
        return None


def place_of(reference: Reference) -> Path:
    """Return where weights lie on this machine, or would once they are fetched."""
    if reference.kind == "path":
        return Path(reference.text)
    return _home(reference) / reference.name


def source_of(reference: Reference) -> Mapping[str, Any]:
    """Return what weights were copied from, as `Fetch` said; nothing where that is not known."""
    try:
        found: Mapping[str, Any] = json.loads((_home(reference) / _SOURCE).read_bytes())["source"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found


def is_whole(reference: Reference) -> bool:
    """Say whether weights lie in the cache as they were fetched: every file, with its size."""
    place, source = place_of(reference), source_of(reference)
    try:
        sizes = {name: (place / name if name else place).stat().st_size for name in source}
    except OSError:
        return False
    stated = {name: stamp["size"] for name, stamp in source.items()}
    return bool(source) and all(sizes[name] == (stated[name] or sizes[name]) for name in sizes)


def keep(reference: Reference, fetch: Fetch, is_good: Callable[[], bool]) -> Path:
    """Fetch weights into the cache, in place of what is there; return where they lie.

    Of several processes of a machine one fetches, and the others wait for it.

    Args:
        reference: The weights, of a URL or the hub.
        fetch: What fetches them.
        is_good: Says whether what lies in the cache will do after all, once nobody else fetches.

    Raises:
        ConfigError: They are not to be had, or the cache cannot be written.
    """
    home, place = _home(reference), place_of(reference)
    with _writing(home), alone(home):
        if is_good():
            return place
        partial = home.with_name(f".{home.name}.{socket.gethostname()}{_PARTIAL}")
        _sweep(home, partial)
        partial.mkdir(exist_ok=True)
        try:
            source = fetch(partial / reference.name)
        except BaseException:
            _remove_if_small(partial)
            raise
        note = {"format": 1, "reference": reference.text, "source": source}
        (partial / _SOURCE).write_bytes(pretty_json(note))
        _swap(partial, home)
    return place


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder of this machine's cache, made by the first process that asks for it.

    Args:
        name: Path below the cache; it must say everything that the content depends on.
        make: Fills the empty folder that it is given. What it leaves half done is thrown away.

    Raises:
        ConfigError: The cache cannot be written.
    """
    target = cache_folder() / name
    if target.exists():
        return target
    with _writing(target), alone(target):
        if not target.exists():
            partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}{_PARTIAL}")
            _sweep(target, partial)
            partial.mkdir()
            try:
                make(partial)
                partial.rename(target)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return target


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Turn what a disk refuses into a sentence."""
    try:
        yield
    except OSError as error:
        message = (
            f"{target}: the weights cannot be kept there ({error.strerror or error}); mend that, "
            f"or set {CACHE_VARIABLE} to another folder"
        )
        raise MissingWeightsError(message) from error


def _home(reference: Reference) -> Path:
    """Return the folder of fetched weights: below a name that tells people what they are."""
    return cache_folder() / "weights" / f"{reference.name}-{digest(reference.text)[:16]}"


def _swap(new: Path, home: Path) -> None:
    old = home.with_name(f".{home.name}.{uuid.uuid4().hex}{_PARTIAL}")
    if home.exists():
        home.rename(old)
    new.rename(home)
    if old.exists():
        shutil.rmtree(old)


def _sweep(home: Path, own: Path) -> None:
    """Remove what was left behind here by other machines that share the cache, and by killed swaps.

    It counts as left behind once nothing in it has changed for a day.
    """
    before = time.time() - ABANDONED_S
    for folder in home.parent.glob(f".{escape(home.name)}.*{_PARTIAL}"):
        with suppress(OSError):  # somebody else removes it
            files = [folder, *folder.rglob("*")]
            if folder != own and max(file.lstat().st_mtime for file in files) < before:
                shutil.rmtree(folder)


def _remove_if_small(partial: Path) -> None:
    """Remove what a failed fetch left, unless it is worth going on with."""
    with suppress(OSError):
        if sum(file.stat().st_size for file in partial.rglob("*")) < _WORTH_KEEPING_BYTES:
            shutil.rmtree(partial)
