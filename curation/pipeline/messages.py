"""What a supervisor and its child say to each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle

from curation.pipeline.tasks import Task, TaskResult, WorkerSpec


@dataclass(frozen=True)
class Ready:
    """First word of a child: its imports are done, it can be asked."""


@dataclass(frozen=True)
class Request:
    """What the supervisor asks for; `spec` is sent once and whenever it has changed.

    `packets` is instance -> the descriptor of a packet that holds its views; the descriptors
    themselves follow the message.
    """

    spec: WorkerSpec | None
    task: Task
    marks: dict[tuple[int, int], str]
    only_row: int | None = None
    slot: int = 0
    packets: Mapping[str, int] = field(default_factory=dict)


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


def send_packets(connection: Connection, packets: Mapping[str, int]) -> None:
    """Send the descriptors that a message has named."""
    for descriptor in packets.values():
        send_handle(connection, descriptor, 0)


def receive_packets(connection: Connection, packets: Mapping[str, int]) -> dict[str, int]:
    """Return the descriptors that a message has named, as they are called in this process.

    Raises:
        EOFError: The other side has ended.
    """
    return {name: recv_handle(connection) for name in packets}
