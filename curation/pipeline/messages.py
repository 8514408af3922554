"""What a supervisor and its child say to each other."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any

from curation.pipeline.tasks import Task, TaskResult, WorkerSpec


@dataclass(frozen=True)
class Ready:
    """First word of a child: its imports are done, it can be asked."""


@dataclass(frozen=True)
class Request:
    """What the supervisor asks for; `spec` is sent once and whenever it has changed.

    `packets` is instance -> the descriptor of a packet that holds its views; see `send`.
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


def send(connection: Connection, message: Request | Reply, packets: Mapping[str, int]) -> None:
    """Send a message, and the descriptors of packets with it.

    The descriptors go first: one that followed a message which the other side cannot read would be
    taken for the beginning of the next message.
    """
    connection.send(tuple(packets))
    for descriptor in packets.values():
        send_handle(connection, descriptor, 0)
    connection.send(message)


def receive(connection: Connection) -> tuple[Any, dict[str, int]]:
    """Return a message, and the descriptors that came with it, as they are called here.

    Raises:
        EOFError: The other side has ended.
    """
    packets = {name: recv_handle(connection) for name in connection.recv()}
    try:
        return connection.recv(), packets
    except BaseException:
        for descriptor in packets.values():
            os.close(descriptor)
        raise
