"""How far a run is, in words."""

import time
from collections.abc import Callable, Mapping

Hear = Callable[[int, Mapping[str, float]], None]
"""Told a step and figures of it, on rank 0."""


class Progress:
    """Says how far a run is, how fast it goes, and for how long yet.

    Args:
        num_steps: Of the whole run.
    """

    def __init__(self, num_steps: int) -> None:
        self.num_steps = num_steps
        self._began: tuple[float, int] | None = None
        self._figures = ""
        self._held_out = ""

    def hear(self, step: int, figures: Mapping[str, float]) -> None:
        """Take in the figures of the last steps, or of an evaluation."""
        if "held_out/loss" in figures:
            self._held_out = f", held-out loss {figures['held_out/loss']:.4g}"
        if "samples_per_s" in figures:
            losses = [f"loss {v:.4g}" for name, v in figures.items() if name.endswith("/loss")]
            speed = f"{figures['samples_per_s']:,.1f} samples/s"
            waiting = f"waiting {100 * figures['wait_share']:.0f}%"
            self._figures = ", ".join([*losses, speed, waiting])

    def words(self, step: int, now: float | None = None) -> str:
        """Say where the run is.

        Args:
            step: The last step.
            now: The time in seconds; null for now.
        """
        now = time.monotonic() if now is None else now
        if self._began is None:
            self._began = (now, step)
        began, first = self._began
        parts = [f"step {step:,} of {self.num_steps:,}"]
        if self._figures:
            parts.append(self._figures + self._held_out)
        # The first step of a process loads, compiles and fills caches: it says nothing of the rest.
        if first < step < self.num_steps:
            pace = (now - began) / (step - first)
            parts.append(f"{_duration(pace * (self.num_steps - step))} left")
        return ", ".join(parts)


def _duration(seconds: float) -> str:
    left = round(seconds)
    days, hours, minutes = left // 86400, left // 3600 % 24, left // 60 % 60
    if days:
        return f"{days} d {hours:02d} h"
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {left % 60:02d} s"
