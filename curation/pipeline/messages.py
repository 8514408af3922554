"""What a supervisor and its child say to each other."""

from dataclasses import dataclass

from curation.pipeline.tasks import Task, TaskResult, WorkerSpec


@dataclass(frozen=True)
class Ready:
    """First word of a child: its imports are done, it can be asked."""


@dataclass(frozen=True)
class Request:
    """What the supervisor asks for; `spec` is sent once and whenever it has changed."""

    spec: WorkerSpec | None
    task: Task
    marks: dict[tuple[int, int], str]
    only_row: int | None = None
    slot: int = 0


@dataclass(frozen=True)
class OutOfMemory:
    """Answer of a child whose allocation was refused; it ends after saying so."""


@dataclass(frozen=True)
class Unable:
    """Answer of a child that could not begin; `text` is the sentence that a person needs."""

    text: str


Answer = Ready | TaskResult | OutOfMemory | Unable


@dataclass(frozen=True)
class Reply:
    """A word of the child, and the slot whose task it is about; null where that is not known."""

    slot: int | None
    answer: Answer
