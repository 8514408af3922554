"""A place for one task in a worker's child process, which may have several in hand at once."""

import logging
import os
import queue

from curation.pipeline.execute import Executor
from curation.pipeline.loaded import LoadedStages
from curation.pipeline.messages import Answer, Request
from curation.pipeline.progress import Progress
from curation.pipeline.supervisor import Supervisor, unable
from curation.pipeline.tasks import WorkerSpec

log = logging.getLogger("longtail.worker")


class Slot:
    """Runs one task at a time, with an executor of its own.

    Args:
        number: Its number.
        progress: Where to say which row is in hand.
        loaded: The stages that are set up, which all slots share.
        supervisor: Who is told.
    """

    def __init__(
        self, number: int, progress: Progress, loaded: LoadedStages, supervisor: Supervisor
    ) -> None:
        self._number = number
        self._progress = progress
        self._loaded = loaded
        self._supervisor = supervisor
        self._executor: Executor | None = None
        self._requests: queue.SimpleQueue[tuple[WorkerSpec, Request]] = queue.SimpleQueue()

    def give(self, spec: WorkerSpec, request: Request) -> None:
        """Hand over a request to the thread that serves here."""
        self._requests.put((spec, request))

    def serve(self) -> None:
        """Do what is given, one after the other, for ever.

        A bug of ours ends the process, as it would in its main thread: a task whose thread is gone
        would be waited for until its time is over.
        """
        try:
            while True:
                self.run(*self._requests.get())
        except BaseException:
            log.exception("a worker's process ends")
            os._exit(1)

    def run(self, spec: WorkerSpec, request: Request) -> None:
        """Do what is asked, and tell the supervisor what came of it."""
        answer: Answer
        try:
            answer = self._run(spec, request)
        except MemoryError:
            self._supervisor.end_without_memory(self._number)
        finally:
            for descriptor in request.packets.values():
                os.close(descriptor)
        self._supervisor.tell(self._number, answer)

    def _run(self, spec: WorkerSpec, request: Request) -> Answer:
        if self._executor is None or self._executor.spec is not spec:
            try:
                self._executor = Executor(spec, self._progress, self._loaded)
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 (becomes the answer, with words in the log)
                return unable(error)
        return self._executor.run(request.task, request.marks, request.only_row, request.packets)
