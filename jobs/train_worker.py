"""One process of a training run under Ray Train, and how its first one talks to the driver."""

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray
import torch
from ray.exceptions import RayActorError

from curation.errors import UsageError
from training.progress import Hear
from training.ranks import rank
from training.recipe import Recipe
from training.run import Run, carry_out, prepare
from training.stopping import TrainingInterruptedError

LOOK_S = 1.0
"""How often figures and requests to stop pass between the driver and the first process."""


class Desk:
    """Where the driver and the first process leave word for each other."""

    def __init__(self) -> None:
        self._lines: list[tuple[int, dict[str, float]]] = []
        self._is_stopped = False

    def leave(self, lines: Sequence[tuple[int, dict[str, float]]]) -> bool:
        """Take figures for the driver; say whether to stop."""
        self._lines += lines
        return self._is_stopped

    def look(self, is_stopped: bool) -> list[tuple[int, dict[str, float]]]:
        """Give the driver the figures that came in; take its request to stop."""
        self._is_stopped = self._is_stopped or is_stopped
        lines, self._lines = self._lines, []
        return lines


DeskActor: Any = ray.remote(num_cpus=0)(Desk)


class _Messenger:
    """The first process's end of a `Desk`; training never waits for it.

    Args:
        desk: The desk.
    """

    def __init__(self, desk: Any) -> None:
        self._desk = desk
        self._lines: queue.SimpleQueue[tuple[int, dict[str, float]]] = queue.SimpleQueue()
        self._is_stopped = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="messenger", daemon=True)
        self._thread.start()

    def hear(self, step: int, figures: Mapping[str, float]) -> None:
        """Take figures along."""
        self._lines.put((step, dict(figures)))

    def is_stopped(self) -> bool:
        """Say whether the driver wants an end."""
        return self._is_stopped

    def close(self) -> None:
        """Deliver what is left."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(LOOK_S):
            self._go()
        self._go()

    def _go(self) -> None:
        lines = [self._lines.get() for _ in range(self._lines.qsize())]
        try:
            self._is_stopped = ray.get(self._desk.leave.remote(lines)) or self._is_stopped
        except RayActorError:
            self._is_stopped = True  # the driver has gone, or has given this group up


def work(told: Mapping[str, Any]) -> int | None:
    """Train as one of the processes; return the step after which the driver stopped them."""
    recipe: Recipe = told["recipe"]
    has_gpu = recipe.workers.gpus > 0
    device = torch.device("cuda", torch.cuda.current_device()) if has_gpu else torch.device("cpu")
    run, start = prepare(recipe, resume=True, device=device)
    store = run.checkpoints.store
    if not store.exists(told["marker"]):
        message = (
            f"{store.url}: {ray.util.get_node_ip_address()} does not find there what the driver "
            "wrote; name an output that all nodes share, as a URL or on a shared file system"
        )
        raise UsageError(message)
    if rank() != 0:
        return _carried_out(run, start, lambda step, figures: None, lambda: False)
    messenger = _Messenger(told["desk"])
    try:
        return _carried_out(run, start, messenger.hear, messenger.is_stopped)
    finally:
        messenger.close()


def _carried_out(run: Run, start: int | None, hear: Hear, stop: Callable[[], bool]) -> int | None:
    try:
        carry_out(run, start, hear=hear, stop=stop)
    except TrainingInterruptedError as interrupted:
        return interrupted.step
    return None
