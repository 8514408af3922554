"""The machine: Python, cores, memory, space and devices."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from curation.doctor.check import Check
from curation.duck import machine_memory_bytes, machine_threads

_GIB = 1 << 30
_MIN_PYTHON = (3, 11)
_MIN_MEMORY = 4 * _GIB
_MIN_SPACE = 5 * _GIB
_DRIVER_TIMEOUT_S = 20


def check_machine() -> Iterator[Check]:
    """Look at this machine; workers on other nodes are not looked at."""
    yield _python()
    yield _system()
    cores = machine_threads()
    yield Check("cores", "ok", f"{cores} that this process may use")
    yield _amount(
        "memory", machine_memory_bytes(), _MIN_MEMORY, "a worker may take up to run.memory_bytes"
    )
    folder = tempfile.gettempdir()
    yield _amount(
        f"space in {folder}",
        shutil.disk_usage(folder).free,
        _MIN_SPACE,
        "queries, fits and Ray spill there; free some, or set TMPDIR",
    )
    yield _devices()


def _python() -> Check:
    version = platform.python_version()
    if sys.version_info[:2] < _MIN_PYTHON:
        return Check("Python", "wrong", version, "install Python 3.11 or newer")
    return Check("Python", "ok", f"{version}, {sys.executable}")


def _system() -> Check:
    system = f"{platform.system()} {platform.machine()}"
    if sys.platform != "linux":
        advice = "workers are supervised by means of Linux; run them there"
        return Check("system", "wrong", system, advice)
    return Check("system", "ok", f"{system}, kernel {os.uname().release}")


def _amount(subject: str, have: int, least: int, why: str) -> Check:
    found = f"{have / _GIB:.1f} GiB"
    if have < least:
        return Check(subject, "wrong", found, f"less than {least / _GIB:.0f} GiB: {why}")
    return Check(subject, "ok", found)


def _devices() -> Check:
    try:
        found = gpus()
    except OSError as error:
        return Check("GPUs", "wrong", f"nvidia-smi failed: {error}", "mend the NVIDIA driver")
    if not found:
        return Check("GPUs", "missing", "no NVIDIA driver here; stages run on the CPU")
    return Check("GPUs", "ok", "; ".join(found))


def gpus() -> list[str]:
    """Return the name and memory of each GPU; the driver knows without any framework.

    Raises:
        OSError: There is a driver, and it fails.
    """
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    if shutil.which(command[0]) is None:
        return []
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_DRIVER_TIMEOUT_S, check=True
        )
    except subprocess.SubprocessError as error:
        raise OSError(str(error)) from error
    return [line for line in done.stdout.split("\n") if line.strip()]
