"""Stages that are set up, shared by all tasks of a process, so that a model loads once."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from curation.pipeline.instances import Instance
from curation.pipeline.stage import Stage


@dataclass(frozen=True)
class LoadedStage:
    """A stage that is set up.

    Attributes:
        stage: The stage.
        turn: Held while `process` is called: one thread at a time, unless the stage, or its
            backend, says by its own `shards_in_flight` that several may.
    """

    stage: Stage[Any]
    turn: AbstractContextManager[Any]


class LoadedStages:
    """Sets each stage up once, though several threads may ask for it at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stages: dict[str, LoadedStage] = {}

    def get(self, instance: Instance, make: Callable[[], Stage[Any]]) -> LoadedStage:
        """Return the stage of a configured instance, set up.

        A fit changes the specification that a worker is told, not the models that are loaded: what
        has the same fingerprint is the same stage.

        Args:
            instance: Which.
            make: Makes the stage the first time.
        """
        key = f"{instance.name}/{instance.fingerprint}"
        with self._lock:
            if key not in self._stages:
                stage = make()
                stage.setup()
                turn = nullcontext() if _takes_threads(stage) else threading.Lock()
                self._stages[key] = LoadedStage(stage, turn)
            return self._stages[key]


def _takes_threads(stage: Stage[Any]) -> bool:
    return stage.needs.shards_in_flight > 1
