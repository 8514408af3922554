"""A run of training on a terminal: one line, written over; in a pipe, a line now and then."""

import math
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from training.progress import Progress

_PIPE_EVERY_S = 15.0


class TrainingLine:
    """Shows how far a run is.

    Args:
        progress: Says it.
    """

    def __init__(self, progress: "Progress") -> None:
        self._progress = progress
        self._said_at = -math.inf
        self._is_open = False

    def hear(self, step: int, figures: Mapping[str, float]) -> None:
        """Take in figures, and show the step that they are of."""
        self._progress.hear(step, figures)
        self.step(step)

    def step(self, step: int) -> None:
        """Show a step that was made."""
        now = time.monotonic()
        words = self._progress.words(step, now)
        if sys.stderr.isatty():
            click.echo(f"\r\x1b[K{words}", nl=False, err=True)
            self._is_open = True
        elif step == self._progress.num_steps or now - self._said_at >= _PIPE_EVERY_S:
            click.echo(words, err=True)
            self._said_at = now

    def close(self) -> None:
        """End the line."""
        if self._is_open:
            click.echo("", err=True)
            self._is_open = False
