"""Figures for whoever listens while a run goes on."""

from collections.abc import Callable, Mapping
from pathlib import Path

from training.journal import Journal

Hear = Callable[[int, Mapping[str, float]], None]
"""Told a step and its figures, on rank 0."""


class HeardJournal(Journal):
    """A journal whose lines are also told to a listener, wherever they are kept.

    Args:
        folder: See `Journal`.
        step: See `Journal`.
        hear: The listener.
    """

    def __init__(self, folder: Path | None, step: int, hear: Hear) -> None:
        super().__init__(folder, step)
        self._hear = hear

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Add the figures of a step."""
        super().write(step, figures)
        self._hear(step, figures)


def progress_line(step: int, steps: int, figures: Mapping[str, float]) -> str:
    """Say in a line how far a run has come."""
    shown = [
        f"{name.rpartition('/')[2]} {figures[name]:.4g}"
        for name in sorted(figures)
        if name.endswith("/loss") and not name.startswith("held_out")
    ]
    if "held_out/loss" in figures:
        shown.append(f"held-out loss {figures['held_out/loss']:.4g}")
    return ", ".join([f"step {step:,} of {steps:,}", *shown])
