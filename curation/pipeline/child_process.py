"""One child process as its supervisor holds it: started, asked, waited for, ended."""

import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from pathlib import Path

from curation.pipeline.messages import Reply, Request, receive, send
from curation.pipeline.progress import Progress
from curation.pipeline.tasks import TaskResult

ENVIRONMENT = {
    # One thread for each numerical library: decisions must not depend on the number of cores, and
    # there are as many workers as cores.
    "OMP_NUM_THREADS": "1",  # Arrow's and torch's computing threads follow it too
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
    "ARROW_IO_THREADS": "2",
    # Each arena reserves 64 MB of address space, one a thread; mimalloc and jemalloc reserve it by
    # the gigabyte. The limit is of address space, so little of it may be lost like that.
    "MALLOC_ARENA_MAX": "2",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}
"""What a child's environment has besides its supervisor's."""

_PATIENCE_S = 2.0
_REAP_S = 10.0
"""A killed process is gone in milliseconds, unless the kernel waits for a dead file system."""


class ChildProcess:
    """A running `curation.pipeline.child`; making the object starts the process.

    Args:
        memory_bytes: Address space that it may have; 0 for no limit.
        num_slots: Tasks that it may have in hand at once.

    Attributes:
        slots: For each of them, where it writes which row is in hand.

    Raises:
        OSError: The machine has no process, memory or descriptor left.
    """

    def __init__(self, memory_bytes: int, num_slots: int = 1) -> None:
        # `-P`: without it the working directory would come first, and with it whatever copy of the
        # code lies there. The child imports what this process imports.
        command = [sys.executable, "-P", "-m", "curation.pipeline.child"]
        search = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
        environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": search}
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self.progress = Progress.create(num_slots)
            self.slots = [self.progress.slot(number) for number in range(num_slots)]
            descriptors = (theirs.fileno(), self.progress.descriptor)
            try:
                self._process = subprocess.Popen(
                    [*command, *map(str, (*descriptors, memory_bytes, num_slots))],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    pass_fds=descriptors,
                )
            except OSError:
                self.progress.close()
                raise
            self._connection = Connection(ours.detach())

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def send(self, request: Request) -> None:
        """Ask for something; `OSError` where nobody listens."""
        send(self._connection, request, request.packets)

    def receive(self, timeout_s: float, other: int | None = None) -> Reply | None:
        """Return its next word, or null after `timeout_s`.

        Args:
            timeout_s: How long to wait.
            other: A descriptor; do not wait on once it can be read.

        Raises:
            EOFError: It hung up. OSError: It hung up in the middle of a word.
        """
        waited: list[Connection | int] = [self._connection]
        if other is not None:
            waited.append(other)
        if self._connection not in wait(waited, timeout_s):
            return None
        reply: Reply
        reply, packets = receive(self._connection)
        if isinstance(reply.answer, TaskResult):
            reply = replace(reply, answer=replace(reply.answer, packets=packets))
        return reply

    def kill(self) -> None:
        """End it at once; safe to call from another thread, before or after `close`."""
        self._process.kill()

    def close(self) -> str:
        """Hang up, wait for its end, kill it where that does not come; say how it ended.

        A process that not even SIGKILL ends within `_REAP_S` is left behind: it can never run
        another instruction of ours, and `subprocess` reaps it when it starts the next one.
        """
        self._connection.close()
        code = self._wait(_PATIENCE_S)
        if code is None:
            self._process.kill()
            code = self._wait(_REAP_S)
        self.progress.close()
        return _words(code)

    def _wait(self, timeout_s: float) -> int | None:
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None


def _words(code: int | None) -> str:
    if code is None:
        return "no end"
    if code >= 0:
        return f"exit code {code}"
    return next((s.name for s in signal.Signals if s == -code), f"signal {-code}")
