"""What weights are: the digest of their content."""

import hashlib
import json
import os
import uuid
from pathlib import Path

from curation.fingerprint import DIGEST_LENGTH, digest

SUFFIXES = frozenset(
    {
        ".bin",
        ".jinja",
        ".json",
        ".model",
        ".npy",
        ".npz",
        ".pt",
        ".pth",
        ".safetensors",
        ".tiktoken",
    }
    | {".txt", ".vocab", ".bpe", ".yaml"}
)
"""The files of a folder that count; a README or a picture changes no model."""

_REMEMBERED_BYTES = 1 << 20  # smaller files are hashed faster than looked up
_BLOCK_BYTES = 1 << 22


def weight_files(folder: Path) -> list[str]:
    """Return the files of a folder that count, as paths below it with `/`, sorted."""
    found = []
    for root, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                found.append((Path(root) / name).relative_to(folder).as_posix())
    return sorted(found)


def digest_of(path: Path, memory: Path) -> str:
    """Return the digest of a file's content, or of a folder's files by name: 32 hex digits.

    Args:
        path: A file, whose name does not matter, or a folder.
        memory: Folder in which digests of large files are remembered by path, size and time of
            change, so that a second look costs nothing.
    """
    if path.is_file():
        return _file_digest(path, memory)[:DIGEST_LENGTH]
    return digest({name: _file_digest(path / name, memory) for name in weight_files(path)})


def _file_digest(path: Path, memory: Path) -> str:
    facts = path.stat()
    if facts.st_size < _REMEMBERED_BYTES:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    real = path.resolve()
    key = {"path": str(real), "size": facts.st_size, "changed": facts.st_mtime_ns}
    note = memory / f"{digest(str(real))}.json"
    try:
        known = json.loads(note.read_text(encoding="utf-8"))
        if {name: known[name] for name in key} == key:
            return str(known["sha256"])
    except (OSError, ValueError, KeyError):
        pass  # not looked at before, or by a version that noted it otherwise
    found = _hash(path)
    memory.mkdir(parents=True, exist_ok=True)
    temporary = memory / f".{uuid.uuid4().hex}"
    temporary.write_text(json.dumps({**key, "sha256": found}), encoding="utf-8")
    temporary.replace(note)
    return found


def _hash(path: Path) -> str:
    state = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            state.update(block)
    return state.hexdigest()
