"""Models of the Hugging Face hub, at a pinned commit."""

import os
import shutil
import sys
from collections.abc import Mapping
from glob import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from curation.errors import ConfigError
from curation.weights.digest import SUFFIXES, chosen
from curation.weights.reference import Reference
from curation.weights.remote import check_room, is_of_disk, remove

_THEIRS = frozenset({"hf_xet", "httpx", "httpx2", "huggingface_hub"})
_HINTS = {
    "GatedRepoError": "this model is gated: ask for access on its page, then set HF_TOKEN",
    "RepositoryNotFoundError": "there is no such model, or it is private; check the name, or set "
    "HF_TOKEN",
    "RevisionNotFoundError": "the model has no such commit; take one of its history",
    "OfflineModeIsEnabled": "HF_HUB_OFFLINE is set; unset it, or fetch where there is a network",
}


def fetch_from_hub(reference: Reference, target: Path) -> Mapping[str, Any]:
    """Download the weight files of a model, or the one that is named; never its code.

    Tokens for gated models and a mirror's address are those that huggingface_hub knows: `HF_TOKEN`,
    `HF_ENDPOINT`. A download that was cut goes on where it was.

    Args:
        reference: The model.
        target: Becomes the file or folder.

    Returns:
        File -> its size, as the hub has it; `""` for a reference that names a file.

    Raises:
        ConfigError: The hub cannot be reached, or does not give it.
    """
    if find_spec("huggingface_hub") is None:
        message = "huggingface_hub is not installed; run `pip install 'longtail[hub]'`"
        raise ConfigError(message)
    remove(target)
    folder = target.with_name(".download")
    folder.mkdir(exist_ok=True)
    try:
        files = _download(reference, folder)
    except Exception as error:
        module = type(error).__module__.partition(".")[0]
        is_theirs = isinstance(error, OSError | ValueError | RuntimeError) or module in _THEIRS
        if is_of_disk(error) or not is_theirs:
            raise
        message = f"{reference.text}: the hub does not give it: {_words(error)}"
        raise ConfigError(message) from error
    (folder / reference.path).rename(target)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(target / ".cache", ignore_errors=True)  # how far each download was
    return files


def _download(reference: Reference, folder: Path) -> dict[str, Any]:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if not sys.stderr.isatty():  # a worker's log
        disable_progress_bars()
    endpoint = os.environ.get("HF_ENDPOINT")  # the library reads it when it is imported
    listed = HfApi(endpoint=endpoint).list_repo_tree(
        reference.repository, recursive=True, revision=reference.commit
    )
    sizes = {entry.path: int(entry.size) for entry in listed if hasattr(entry, "size")}
    wanted = _wanted(reference, list(sizes))
    files = {name: sizes[name] for name in wanted}
    there = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    check_room(reference.text, sum(files.values()) - there, folder)
    snapshot_download(
        reference.repository,
        revision=reference.commit,
        local_dir=folder,
        allow_patterns=[escape(name) for name in wanted],
        endpoint=endpoint,
    )
    for name, size in files.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != size:
            message = f"{reference.text}: {name} did not come whole; run the same command again"
            raise ConfigError(message)
    return {
        name.removeprefix(reference.path).lstrip("/"): {"size": size}
        for name, size in files.items()
    }


def _wanted(reference: Reference, names: list[str]) -> list[str]:
    path = reference.path
    if path in names:
        wanted = [path] if Path(path).suffix.lower() in SUFFIXES else []
    else:
        below = [name for name in names if not path or name.startswith(f"{path}/")]
        wanted = chosen(below)
    if not wanted or not all(_is_plain(name) for name in wanted):
        message = (
            f"{reference.text}: the model has no weights there (no {', '.join(sorted(SUFFIXES))} "
            "file)"
        )
        raise ConfigError(message)
    return wanted


def _is_plain(name: str) -> bool:
    return set(name.split("/")).isdisjoint({"", ".", ".."})


def _words(error: BaseException) -> str:
    """Return what to do about the first known error of the chain, else the hub's own words."""
    cause: BaseException | None = error
    while cause is not None:
        for kind in type(cause).__mro__:
            if kind.__name__ in _HINTS:
                return _HINTS[kind.__name__]
        cause = cause.__cause__ or cause.__context__
    words = " ".join(str(error).split())[:300]
    return f"{words}; check the network, or name a folder that has it"
