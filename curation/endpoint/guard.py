"""Runs a program until it ends, or until whoever started this is gone: nothing of it stays behind.

    python -I -S guard.py COMMAND ...        with a pipe as standard input

A worker may be killed at any moment, by the kernel, by Ray or by a person, and has then no time to
end a server that it started, which would hold its GPU for ever. The other end of the pipe goes with
the worker, however it dies, so the end of the input is the sign. `PR_SET_PDEATHSIG` alone would not
do: it follows the *thread* that started the process, and reaches no grandchild.

It imports nothing of Longtail and nothing heavy: it lives beside the server all the time.
"""

import ctypes
import os
import resource
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

GRACE_S = 10.0
"""Time for an orderly end, in which shared memory is given back, before the kill."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_STEP_S = 0.05


def main(command: list[str]) -> int:
    """Run `command`; return its exit code, or 0 where the input ended first."""
    libc = ctypes.CDLL(None, use_errno=True)
    # What loses its parent becomes a child of this process, in whatever session it is.
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_end(process)))

    def in_the_child() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # A worker's limit of address space is for its own decoding; a server maps far more.
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=in_the_child,  # noqa: PLW1509 (there is one thread)
    )
    watched = select.poll()
    watched.register(sys.stdin.fileno(), select.POLLIN | select.POLLHUP)
    watched.register(os.pidfd_open(process.pid), select.POLLIN)
    watched.poll()
    code = process.poll()
    return _end(process) if code is None else _after(code)


def _end(process: subprocess.Popen[bytes]) -> int:
    """End the program, first by asking; return 0."""
    process.terminate()
    deadline = time.monotonic() + GRACE_S
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(_STEP_S)
    return _after(0)


def _after(code: int) -> int:
    """Kill what is left of the program, however deep or detached; return `code`."""
    while children := _children():
        for child in children:
            os.kill(child, signal.SIGKILL)  # its own children come up to this process
        for child in children:
            os.waitpid(child, 0)
    return code


def _children() -> list[int]:
    """Return the processes whose parent this is; not every kernel has `task/*/children`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                status = (entry / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue  # it ended meanwhile
            # After the name, which is in brackets and may hold anything: state, parent.
            if int(status.rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(entry.name))
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
