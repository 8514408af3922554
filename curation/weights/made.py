"""Weights in another layout, made once on each machine from those that a user names."""

import shutil
import socket
from collections.abc import Callable
from pathlib import Path

from curation.errors import ConfigError
from curation.weights.cache import CACHE_VARIABLE, cache_folder
from curation.weights.lock import alone


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder of this machine's cache, made by the first process that asks for it.

    Args:
        name: Path below the cache; it must say everything that the content depends on.
        make: Fills the empty folder that it is given. What it leaves half done is thrown away.

    Raises:
        ConfigError: The cache cannot be written; or whatever `make` raises.
    """
    target = cache_folder() / name
    if target.exists():
        return target
    partial = target.with_name(f".{target.name}.{socket.gethostname()}.partial")
    try:
        with alone(target):
            shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
            try:
                if not target.exists():
                    partial.mkdir()
                    make(partial)
                    partial.rename(target)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        if target.exists():  # another machine that shares the cache was quicker
            return target
        message = (
            f"{target}: cannot be written ({error.strerror or error}); make room, or set "
            f"{CACHE_VARIABLE} to another folder"
        )
        raise ConfigError(message) from error
    return target
