"""Weights on this machine: found where they lie, or fetched into a cache."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from curation.errors import ConfigError, MissingWeightsError
from curation.weights.cache import is_whole, keep, memory_folder, place_of, source_of
from curation.weights.digest import digest_of, size_of
from curation.weights.hub import fetch_from_hub
from curation.weights.reference import Reference
from curation.weights.remote import fetch_url, look


@dataclass(frozen=True)
class Held:
    """Weights that lie on this machine.

    Attributes:
        path: The file or folder.
        num_bytes: Of the files that count.
        digest: Of their content.
    """

    path: Path
    num_bytes: int
    digest: str


def weights_digest(text: str) -> str:
    """Return the digest of weights, for a plan.

    What lies at a URL is fetched, and again where it is not what was fetched before; if it cannot
    be reached, the copy from before stands. A model of the hub was fetched by the user: it may be
    large, and its name is pinned to its content.

    Raises:
        MissingWeightsError: There is nothing, or it was never fetched from the hub.
        ConfigError: It cannot be read.
    """
    reference = _parse(text)
    if reference.kind == "hub" and not is_whole(reference):
        message = f"{text}: not on this machine; `longtail models fetch PIPELINE` fetches it"
        raise MissingWeightsError(message)
    if reference.kind == "url":
        _up_to_date(reference)
    return digest_of(place_of(reference), memory_folder())


def local_weights(text: str, expected: str) -> Path:
    """Return the file or folder that holds weights on this machine, fetched if need be.

    Args:
        text: The reference.
        expected: Their digest.

    Raises:
        ConfigError: They are not to be had, or are not those that the plan was made with.
    """
    reference = _parse(text)
    path = place_of(reference)
    if reference.kind != "path" and not is_whole(reference):
        _fetch(reference, lambda: is_whole(reference))
    found = digest_of(path, memory_folder())
    if found != expected and reference.kind == "url":
        _up_to_date(reference)  # this may be an older copy
        found = digest_of(path, memory_folder())
    if found != expected:
        again = "" if reference.kind == "path" else f", or delete {path.parent} to fetch them again"
        message = (
            f"{text}: these are other weights (digest {found[:16]}) than those that the run was "
            f"planned with ({expected[:16]}); put the same on every machine, or run again{again}"
        )
        raise ConfigError(message)
    return path


def fetch(text: str) -> Held:
    """Bring weights to this machine, unless they are there as they should be.

    Raises:
        ConfigError: They are not to be had.
    """
    reference = _parse(text)
    if reference.kind == "hub" and not is_whole(reference):
        _fetch(reference, lambda: is_whole(reference))
    elif reference.kind == "url":
        _up_to_date(reference)
    return _held(place_of(reference))


def find(text: str) -> Held | None:
    """Return weights that lie on this machine, and null where they do not; nothing is fetched.

    Raises:
        ConfigError: They lie there and cannot be read, or a path names nothing.
    """
    reference = _parse(text)
    if reference.kind != "path" and not is_whole(reference):
        return None
    return _held(place_of(reference))


def _held(place: Path) -> Held:
    return Held(place, digest=digest_of(place, memory_folder()), num_bytes=size_of(place))


def _parse(text: str) -> Reference:
    try:
        return Reference.parse(text)
    except ValueError as error:
        message = f"{text}: {error}"
        raise ConfigError(message) from error


def _up_to_date(reference: Reference) -> None:
    """Have a copy of what lies at a URL now; the one from before, if that cannot be asked."""
    if not is_whole(reference):
        _fetch(reference, lambda: is_whole(reference))
        return
    try:
        now = look(reference)
    except ConfigError:
        return
    if source_of(reference) != now:
        _fetch(reference, lambda: is_whole(reference) and source_of(reference) == now)


def _fetch(reference: Reference, is_good: Callable[[], bool]) -> None:
    get = fetch_from_hub if reference.kind == "hub" else fetch_url
    keep(reference, lambda target: get(reference, target), is_good)
