"""The child process of a worker: reads requests, runs them, answers.

    python -m curation.pipeline.child SOCKET PROGRESS MEMORY

Started by `curation.pipeline.child_process` with the two descriptors inherited and the address
space that it may have in bytes, 0 for no limit. It may crash, hang or run out of memory at any
image: that is what it is for.
"""

import ctypes
import logging
import os
import resource
import signal
import sys
from multiprocessing.connection import Connection
from typing import NoReturn

from curation.errors import LongtailError
from curation.pipeline.hindrance import AGAIN, hindrance
from curation.pipeline.messages import Answer, OutOfMemory, Ready, Request, Unable
from curation.pipeline.progress import Progress

_PR_SET_PDEATHSIG = 1
_EXIT_OUT_OF_MEMORY = 77

log = logging.getLogger("longtail.worker")


def main(socket: int, descriptor: int, memory_bytes: int) -> None:
    """Serve requests until the supervisor closes the socket."""
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory_bytes:
        _limit_address_space(memory_bytes)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    connection = Connection(socket)
    progress = Progress(descriptor)
    try:
        from curation.pipeline.execute import Executor  # under the memory limit
    except ImportError as error:
        connection.send(_unable(error))
        return
    connection.send(Ready())
    executor: Executor | None = None
    while True:
        try:
            request: Request = connection.recv()
            if request.spec is not None:
                stages = executor.stages if executor is not None else {}
                executor = Executor(request.spec, progress, stages)
        except EOFError:
            return
        except MemoryError:
            _end_without_memory(connection)
        except Exception as error:  # noqa: BLE001 (becomes the answer, with the words in the log)
            connection.send(_unable(error))
            continue
        assert executor is not None
        try:
            answer: Answer = executor.run(request.task, request.marks, request.only_row)
        except MemoryError:
            _end_without_memory(connection)
        connection.send(answer)


def _unable(error: Exception) -> Unable:
    """Word what kept this process from beginning: no task was in hand yet."""
    log.warning("a worker cannot begin: %s", error, exc_info=error)
    where = "a worker cannot begin"
    known = f"{where}: {error}" if isinstance(error, LongtailError) else hindrance(where, error)
    return Unable(known or f"{where}: {type(error).__name__}: {error}; mend that, {AGAIN}")


def _end_without_memory(connection: Connection) -> NoReturn:
    connection.send(OutOfMemory())
    os._exit(_EXIT_OUT_OF_MEMORY)


def _limit_address_space(memory_bytes: int) -> None:
    """Limit this process; the hard limit stays, for a server that a stage starts beside it."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _die_with_parent() -> None:
    """Ask Linux to end this process with the thread that started it, even while it hangs."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
