"""The supervisor as its child process sees it."""

import logging
import os
import threading
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import NoReturn

from curation.errors import LongtailError
from curation.pipeline.hindrance import AGAIN, hindrance
from curation.pipeline.messages import (
    Answer,
    OutOfMemory,
    Reply,
    Request,
    Unable,
    receive,
    send,
)
from curation.pipeline.tasks import TaskResult

_EXIT_OUT_OF_MEMORY = 77

log = logging.getLogger("longtail.worker")


class Supervisor:
    """Asks for tasks; several threads may tell it something.

    Args:
        connection: To it.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def hear(self) -> Request:
        """Return the next request; `EOFError` when there will be none."""
        request: Request
        request, packets = receive(self._connection)
        return replace(request, packets=packets)

    def tell(self, slot: int | None, answer: Answer) -> None:
        """Say something of the task in a slot; null where it is not known which.

        The packets of a result are handed over with it.
        """
        packets = answer.packets if isinstance(answer, TaskResult) else {}
        with self._lock:
            send(self._connection, Reply(slot, answer), packets)
        for descriptor in packets.values():
            os.close(descriptor)

    def end_without_memory(self, slot: int | None) -> NoReturn:
        """Say that an allocation was refused, and end this process."""
        self.tell(slot, OutOfMemory())
        os._exit(_EXIT_OUT_OF_MEMORY)


def unable(error: Exception) -> Unable:
    """Word what kept this process from beginning: no task was in hand yet."""
    log.warning("a worker cannot begin: %s", error, exc_info=error)
    where = "a worker cannot begin"
    known = f"{where}: {error}" if isinstance(error, LongtailError) else hindrance(where, error)
    return Unable(known or f"{where}: {type(error).__name__}: {error}; mend that, {AGAIN}")
