"""The child process of a worker: reads requests, runs them, answers.

    python -m curation.pipeline.child SOCKET PROGRESS MEMORY SLOTS

Started by `curation.pipeline.child_process` with the two descriptors inherited, the address space
that it may have in bytes, 0 for no limit, and the tasks that it may have in hand at once. It may
crash, hang or run out of memory at any image: that is what it is for.
"""

import ctypes
import logging
import os
import resource
import signal
import sys
import threading
from multiprocessing.connection import Connection

from curation.pipeline.messages import Ready
from curation.pipeline.progress import Progress
from curation.pipeline.supervisor import Supervisor, unable
from curation.pipeline.tasks import WorkerSpec

_PR_SET_PDEATHSIG = 1


def main(socket: int, descriptor: int, memory_bytes: int, num_slots: int) -> None:
    """Serve requests until the supervisor closes the socket."""
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory_bytes:
        _limit_address_space(memory_bytes)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    supervisor = Supervisor(Connection(socket))
    try:
        from curation.pipeline.loaded import LoadedStages  # under the memory limit
        from curation.pipeline.slot import Slot
    except ImportError as error:
        supervisor.tell(0, unable(error))
        return
    supervisor.tell(0, Ready())
    progress = Progress(descriptor)
    loaded = LoadedStages()
    slots = [Slot(n, progress.slot(n), loaded, supervisor) for n in range(num_slots)]
    if num_slots > 1:
        for slot in slots:
            threading.Thread(target=slot.serve, daemon=True).start()
    spec: WorkerSpec | None = None
    while True:
        try:
            request = supervisor.hear()
        except EOFError:
            return
        except MemoryError:
            supervisor.end_without_memory(None)
        except Exception as error:  # noqa: BLE001 (becomes the answer, with the words in the log)
            supervisor.tell(0 if num_slots == 1 else None, unable(error))
            continue
        spec = request.spec or spec
        assert spec is not None
        if num_slots > 1:
            slots[request.slot].give(spec, request)
        else:
            slots[0].run(spec, request)


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
    main(*(int(argument) for argument in sys.argv[1:]))
