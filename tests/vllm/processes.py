"""Which processes there are, and whose."""

import os
from pathlib import Path


def processes_of(folder: Path) -> list[int]:
    """Return the other processes that have a folder as a word of their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(folder).encode() in words and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


def below(pid: int) -> list[int]:
    """Return the processes that a process started, and those that they started."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            status = (entry / "stat").read_text(errors="replace")
        except OSError:
            continue
        parents[int(entry.name)] = int(status.rpartition(")")[2].split()[1])
    found = [child for child, parent in parents.items() if parent == pid]
    return found + [deeper for child in found for deeper in below(child)]


def is_there(pid: int) -> bool:
    """Say whether a process runs; one that ended and was not asked for its end does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
