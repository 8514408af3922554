"""What weights are: the digest of their content."""

import hashlib
import logging
import os
import re
import stat
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from curation.errors import ConfigError, MissingWeightsError
from curation.fingerprint import DIGEST_LENGTH, digest
from curation.weights.lock import alone
from curation.weights.memory import Memory

_log = logging.getLogger(__name__)

SUFFIXES = frozenset(
    {
        ".bin",
        ".bpe",
        ".jinja",
        ".json",
        ".model",
        ".npy",
        ".npz",
        ".pt",
        ".pth",
        ".safetensors",
        ".tiktoken",
        ".txt",
        ".vocab",
        ".yaml",
    }
)
"""The files of a folder that count; a README or a picture changes no model."""

_TENSORS = re.compile(
    r"(?P<model>.*?)(?:-\d{5}-of-\d{5})?\.(?P<kind>safetensors|bin)(?:\.index\.json)?"
)
_WORDS = ("licence", "license", "notice", "readme", "requirements")
_REMEMBERED_BYTES = 1 << 20  # smaller files are hashed faster than looked up
_SAID_BYTES = 1 << 30


def chosen(names: list[str]) -> list[str]:
    """Return those of a folder's files that count, sorted.

    Besides other kinds of files, licences and the like are left out, and what begins with a dot;
    and, beside `model.safetensors`, PyTorch's pickle of the same, `pytorch_model.bin`: loaders take
    the former, and it would double what is fetched.

    Args:
        names: Paths below the folder, with `/`.
    """
    safe = {twin for name in names if (twin := _twin(name, "safetensors"))}
    found = []
    for name in names:
        last = name.rpartition("/")[2]
        if any(part.startswith(".") for part in name.split("/")):
            continue
        if Path(last).suffix.lower() not in SUFFIXES or last.lower().startswith(_WORDS):
            continue
        if _twin(name, "bin") in safe:
            continue
        found.append(name)
    return sorted(found)


def _twin(name: str, kind: str) -> tuple[str, str] | None:
    """Return the folder and the model that a file of this kind is (a part) of, as both call it."""
    folder, _, last = name.rpartition("/")
    found = _TENSORS.fullmatch(last)
    if found is None or found["kind"] != kind:
        return None
    return folder, found["model"].replace("pytorch_model", "model")


def weight_files(folder: Path) -> list[str]:
    """Return the files of a folder that count, as paths below it with `/`, sorted.

    Links are followed, except into a folder that is being looked through.
    """
    return chosen(list(_below(folder, "", frozenset())))


def _below(folder: Path, prefix: str, above: frozenset[str]) -> Iterator[str]:
    real = os.path.realpath(folder)
    if real in above:
        return
    for entry in os.scandir(folder):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _below(folder / entry.name, f"{prefix}{entry.name}/", above | {real})
        else:
            yield prefix + entry.name


def digest_of(path: Path, memory: Path | None) -> str:
    """Return the digest of a file's content, or of a folder's files by name: 32 hex digits.

    Args:
        path: A file, whose name does not matter, or a folder.
        memory: Folder in which digests of large files are remembered by path, size and times of
            change, so that a second look costs nothing. Null, or one that cannot be written, for
            reading them each time.

    Raises:
        MissingWeightsError: Something is missing.
        ConfigError: Something is unreadable, or no file; or a folder has no weights.
    """
    try:
        if not path.is_dir():
            return _file_digest(path, memory)[:DIGEST_LENGTH]
        names = weight_files(path)
        if not names:
            message = f"{path}: holds no weights (no {', '.join(sorted(SUFFIXES))} file)"
            raise ConfigError(message)
        return digest({name: _file_digest(path / name, memory) for name in names})
    except FileNotFoundError as error:
        where = error.filename or path
        hint = "; the link leads nowhere" if Path(where).is_symlink() else ""
        message = f"{where}: no such file or folder{hint}; name what is there"
        raise MissingWeightsError(message) from error
    except OSError as error:
        message = f"{error.filename or path}: the weights cannot be read ({error.strerror})"
        raise ConfigError(message) from error


def size_of(path: Path) -> int:
    """Return the bytes of the files that count."""
    files = [path / name for name in weight_files(path)] if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


def _file_digest(path: Path, memory: Path | None) -> str:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # reading a pipe would never end
        message = f"{path}: is no regular file; weights are files"
        raise ConfigError(message)
    if status.st_size < _REMEMBERED_BYTES:
        return _hash(path)
    real = str(path.resolve())
    notes = Memory(memory)
    if found := notes.recall(real, _key(status)):
        return found
    if status.st_size < _SAID_BYTES:
        return _hash_and_note(path, real, notes)
    with ExitStack() as stack:
        if place := notes.place(real):
            with suppress(OSError):
                stack.enter_context(alone(place))  # a machine's workers begin at the same time
        if found := notes.recall(real, _key(status)):
            return found
        size = status.st_size / (1 << 30)
        _log.warning("%s: reading %.1f GiB, once, to know which weights these are", path, size)
        return _hash_and_note(path, real, notes)


def _key(status: os.stat_result) -> dict[str, int]:
    """Return what changes with a file; the time of its inode cannot be set back by copying."""
    times = {"modified": status.st_mtime_ns, "changed": status.st_ctime_ns}
    return {"size": status.st_size, **times}


def _hash_and_note(path: Path, real: str, notes: Memory) -> str:
    before = _key(path.stat())
    found = _hash(path)
    if _key(path.stat()) == before:  # else somebody writes to it
        notes.note(real, before, found)
    return found


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
