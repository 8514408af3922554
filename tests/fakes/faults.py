"""Kills this process at the n-th commit point, when `LONGTAIL_TEST_FAULT` asks for it.

`LONGTAIL_TEST_FAULT` holds `<counter file>:<n>`. The counter file is shared by all processes of a
run, so that n counts commits of the driver and of every worker alike.
"""

import fcntl
import os
import signal
from pathlib import Path

from curation import storage

VARIABLE = "LONGTAIL_TEST_FAULT"


def install() -> None:
    """Set the storage's fault hook if the environment says so."""
    if VARIABLE in os.environ:
        storage.fault_hook = _count


def _count(point: str, path: str) -> None:
    counter, _, limit = os.environ[VARIABLE].rpartition(":")
    with Path(counter).open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(f"{point} {path}\n")
        file.flush()
        file.seek(0)
        number = len(file.readlines())
    if number == int(limit):
        os.killpg(0, signal.SIGKILL)
