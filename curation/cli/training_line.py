"""A run of training on a terminal: one line, written over; in a pipe, a line now and then."""

import math
import sys
import time
from collections.abc import Mapping

import click

_PIPE_EVERY_S = 15.0


class TrainingLine:
    """Says how far a run is, how fast it goes, and for how long yet.

    Args:
        num_steps: Of the whole run.
    """

    def __init__(self, num_steps: int) -> None:
        self._num_steps = num_steps
        self._began: tuple[float, int] | None = None
        self._said_at = -math.inf
        self._figures = ""
        self._is_open = False

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """Take in the figures of the last steps."""
        losses = [f"loss {v:.4g}" for name, v in figures.items() if name.endswith("/loss")]
        speed = f"{figures['samples_per_s']:,.1f} samples/s"
        self._figures = ", ".join([*losses, speed, f"waiting {100 * figures['wait_share']:.0f}%"])

    def step(self, step: int) -> None:
        """Show a step that was made."""
        now = time.monotonic()
        if self._began is None:
            self._began = (now, step)
        is_last = step == self._num_steps
        if sys.stderr.isatty():
            click.echo(f"\r\x1b[K{self.words(step, now)}", nl=False, err=True)
            self._is_open = True
        elif is_last or now - self._said_at >= _PIPE_EVERY_S:
            click.echo(self.words(step, now), err=True)
            self._said_at = now

    def words(self, step: int, now: float) -> str:
        """Say where the run is.

        Args:
            step: The last step.
            now: The time in seconds.
        """
        parts = [f"step {step:,} of {self._num_steps:,}"]
        if self._figures:
            parts.append(self._figures)
        # The first step of a process loads, compiles and fills caches: it says nothing of the rest.
        if self._began is not None and step > self._began[1] and step < self._num_steps:
            pace = (now - self._began[0]) / (step - self._began[1])
            parts.append(f"{_duration(pace * (self._num_steps - step))} left")
        return ", ".join(parts)

    def close(self) -> None:
        """End the line."""
        if self._is_open:
            click.echo("", err=True)


def _duration(seconds: float) -> str:
    left = round(seconds)
    days, hours, minutes = left // 86400, left // 3600 % 24, left // 60 % 60
    if days:
        return f"{days} d {hours:02d} h"
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {left % 60:02d} s"
