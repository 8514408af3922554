"""The child process of a worker: reads requests, runs them, answers.

    python -m curation.pipeline.child SOCKET PROGRESS

Started by `curation.pipeline.worker` with the two descriptors inherited. It may crash, hang or run
out of memory at any image: that is what it is for.
"""

import ctypes
import logging
import os
import resource
import signal
import sys
from multiprocessing.connection import Connection

from curation.pipeline.messages import Answer, OutOfMemory, Request
from curation.pipeline.progress import Progress

_PR_SET_PDEATHSIG = 1
_EXIT_OUT_OF_MEMORY = 77


def main(socket: int, descriptor: int, memory_bytes: int) -> None:
    """Serve requests until the supervisor closes the socket."""
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    connection = Connection(socket)
    progress = Progress(descriptor)
    executor = None
    from curation.pipeline.execute import Executor  # after the memory limit

    while True:
        try:
            request: Request = connection.recv()
        except EOFError:
            return
        try:
            if request.spec is not None:
                executor = Executor(request.spec, progress)
            assert executor is not None
            answer: Answer = executor.run(request.task, request.marks, request.only_row)
        except MemoryError:
            connection.send(OutOfMemory())
            os._exit(_EXIT_OUT_OF_MEMORY)
        connection.send(answer)


def _die_with_parent() -> None:
    """Ask Linux to end this process with the thread that started it, even while it hangs."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
