"""Ending a run early and cleanly: Ctrl-C, a machine that is taken away."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from curation.errors import LongtailError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TrainingInterruptedError(LongtailError):
    """Someone asked the run to stop; its checkpoint is written.

    Attributes:
        step: The last step, whose checkpoint it is.
    """

    def __init__(self, step: int) -> None:
        self.step = step
        super().__init__(
            f"stopped after step {step:,}, whose checkpoint is written; go on with --resume"
        )

    def __reduce__(self) -> tuple[type["TrainingInterruptedError"], tuple[int]]:
        """Travel between processes as the step."""
        return TrainingInterruptedError, (self.step,)


class StopSignals:
    """What the signals that came in ask for.

    Attributes:
        received: The first signal; null while there is none.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self.at = 0.0

    def __call__(self) -> bool:
        """Say whether the run is asked to stop."""
        return self.received is not None

    @property
    def exit_code(self) -> int:
        """What shells say of a command that was ended by this signal.

        Another process may have been the one that was asked: then as after Ctrl-C.
        """
        return 128 + (self.received or signal.SIGINT)


@contextmanager
def stop_signals(
    *,
    is_first: bool = True,
    patience_s: float = 0.0,
    at_once: Callable[[int], None] = os._exit,
) -> Iterator[StopSignals]:
    """Take SIGINT and SIGTERM as a request to stop after the step in hand; a second one ends all.

    A second one ends the process without a further word to anybody: checkpoints are whole or not
    there, so nothing is lost but the steps since the last one.

    Args:
        is_first: Whether this process is the one that speaks.
        patience_s: Signals that come so soon after the first are the same one: torchrun passes
            Ctrl-C on to processes that have had it from the terminal already.
        at_once: Ends the process; told the exit code.
    """
    stop = StopSignals()

    def take(number: int, frame: FrameType | None) -> None:
        del frame
        now = time.monotonic()
        if stop.received is None:
            stop.received, stop.at = signal.Signals(number), now
            _say(is_first, "finishing the step and writing a checkpoint; once more to stop at once")
        elif now - stop.at >= patience_s:
            _say(is_first, "stopped at once; go on from the last checkpoint with --resume")
            at_once(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield stop  # Python gives signals to the main thread alone
        return
    before = {number: signal.signal(number, take) for number in _SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(is_first: bool, words: str) -> None:
    """Write to the standard error: unbuffered, for a signal may come while a line is written."""
    if is_first:
        os.write(2, f"\n{words}\n".encode())
