"""Weights on this machine: found where they lie, or fetched into a cache."""

import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from curation.errors import ConfigError
from curation.fingerprint import digest
from curation.storage import Store
from curation.weights.digest import SUFFIXES, digest_of, weight_files
from curation.weights.hub import fetch_from_hub
from curation.weights.reference import Reference

CACHE_VARIABLE = "LONGTAIL_CACHE"
"""Names the folder for fetched weights; `~/.cache/longtail` without it."""

_BLOCK_BYTES = 1 << 22


def cache_folder() -> Path:
    """Return the folder in which this machine keeps weights and what it knows of them."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named).expanduser() if named else Path.home() / ".cache" / "longtail"


def weights_digest(text: str) -> str:
    """Return the digest of weights: of a URL's after fetching them, of the hub's if fetched before.

    Raises:
        ConfigError: There is nothing, it cannot be read, or it was never fetched from the hub.
    """
    reference = Reference.parse(text)
    if reference.kind == "hub" and not _fetched(reference).exists():
        message = f"{text}: not on this machine; `longtail models fetch PIPELINE` fetches it"
        raise ConfigError(message)
    return digest_of(_place(reference), _memory())


def local_weights(text: str, expected: str) -> Path:
    """Return the file or folder that holds weights on this machine, fetched if need be.

    Args:
        text: The reference.
        expected: Their digest.

    Raises:
        ConfigError: They are not to be had, or are not those that the plan was made with.
    """
    reference = Reference.parse(text)
    path = _place(reference)
    found = digest_of(path, _memory())
    if found != expected and reference.kind != "path":
        _remove(_fetched(reference))  # perhaps an older copy of what lies there now
        path = _place(reference)
        found = digest_of(path, _memory())
    if found != expected:
        message = (
            f"{text}: these are other weights (digest {found[:16]}) than those that the run was "
            f"planned with ({expected[:16]}); put the same files on every machine, or run again"
        )
        raise ConfigError(message)
    return path


def fetch(text: str) -> Path:
    """Bring weights to this machine, unless they are there; return where they lie.

    Raises:
        ConfigError: They are not to be had.
    """
    return _place(Reference.parse(text))


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder of this machine's cache, made by the first process that asks for it.

    Args:
        name: Path below the cache; it must say everything that the content depends on.
        make: Fills the empty folder that it is given. What it leaves half done is thrown away.
    """
    target = cache_folder() / name
    if not target.exists():
        with _alone(target):
            if not target.exists():
                temporary = target.with_name(f".{uuid.uuid4().hex}")
                temporary.mkdir()
                try:
                    make(temporary)
                    temporary.rename(target)
                finally:
                    _remove(temporary)
    return target


def _place(reference: Reference) -> Path:
    if reference.kind == "path":
        path = Path(reference.text)
        if not path.exists():
            message = f"{path}: no such file or folder; name weights that are there"
            raise ConfigError(message)
        if path.is_dir() and not weight_files(path):
            message = f"{path}: holds no weights (no {', '.join(sorted(SUFFIXES))} file)"
            raise ConfigError(message)
        return path
    target = _fetched(reference)
    if not target.exists():
        with _alone(target):
            if not target.exists():
                temporary = target.with_name(f".{uuid.uuid4().hex}")
                try:
                    if reference.kind == "hub":
                        fetch_from_hub(reference, temporary)
                    else:
                        _copy(reference.text, temporary)
                    temporary.rename(target)
                finally:
                    _remove(temporary)
    return target


def _fetched(reference: Reference) -> Path:
    """Return where fetched weights lie: below a name that tells people what they are."""
    name = reference.text.rsplit("/", 1)[-1].split("@")[0]
    return cache_folder() / "weights" / f"{name}-{digest(reference.text)[:16]}"


def _memory() -> Path:
    return cache_folder() / "digests"


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Let one process of this machine at a time fetch to `target`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f".{target.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _copy(url: str, target: Path) -> None:
    parent, _, name = url.rpartition("/")
    above = Store(parent)
    if above.fs.isfile(above.path(name)):
        _download(above, name, target)
        return
    store = Store(url)
    names = [name for name in store.files("") if Path(name).suffix.lower() in SUFFIXES]
    if not names:
        message = f"{url}: there are no weights (no {', '.join(sorted(SUFFIXES))} file)"
        raise ConfigError(message)
    for name in names:
        _download(store, name, target / name)


def _download(store: Store, name: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with store.open(name) as source, target.open("wb") as file:
        shutil.copyfileobj(source, file, _BLOCK_BYTES)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
