"""One process of a machine at a time."""

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_log = logging.getLogger(__name__)


@contextmanager
def alone(target: Path) -> Iterator[None]:
    """Let one process at a time be at `target`; the system frees the lock of one that dies.

    Raises:
        OSError: The folder cannot be written, or its file system knows no locks.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f".{target.name}.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.warning("%s: another process is at it; waiting", target)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
