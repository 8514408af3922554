"""What a run says while it trains: one JSON object a line; TensorBoard and W&B show the same.

The lines are the truth. A run that is resumed forgets what it said after the step that it goes on
from: lines and pictures of later steps are removed, TensorBoard is told to purge them, and in
Weights & Biases, which cannot, they are drawn over by those of the same step.
"""

import io
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.pixels import as_pillow
from curation.storage import Store
from training.boards import Board

METRICS = "metrics.jsonl"
SAMPLES = "samples"

_PUT_EVERY_S = 30.0
"""An object store takes whole files only, so lines are gathered for so long."""


class Journal:
    """Writes figures by step.

    Args:
        where: The run's output, or its folder; null on ranks that are silent.
        step: What was said of later steps, which a run that was resumed has forgotten, is removed.
        boards: Who else is told.
    """

    def __init__(self, where: Store | Path | None, step: int, boards: Sequence[Board] = ()) -> None:
        self._store = Store(str(where)) if isinstance(where, Path) else where
        self._boards = boards
        self._lines: list[str] = []
        self._put_at = 0.0
        if self._store is None:
            return
        kept = [line for line in read_lines(self._store) if line["step"] <= step]
        self._lines = [json.dumps(line) + "\n" for line in kept]
        self._put()
        for name in self._store.names(SAMPLES):
            if sample_step(name) > step:
                self._store.delete(f"{SAMPLES}/{name}")

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Add the figures of a step; one that is no number is written as null."""
        if self._store is None:
            return
        finite = {name: v if math.isfinite(v) else None for name, v in figures.items()}
        self._add({"step": step, **finite})
        for board in self._boards:
            board.figures(step, {name: v for name, v in finite.items() if v is not None})

    def event(self, step: int, name: str, facts: Mapping[str, Any]) -> None:
        """Add something that happened, such as `stopped`, and put it where it is safe."""
        if self._store is None:
            return
        self._add({"step": step, "event": name, "time": round(time.time(), 3), **facts})
        self.flush()

    def picture(self, step: int, pixels: NDArray[np.uint8]) -> None:
        """Keep the (height, width, 3) sheet of pictures that was drawn at a step."""
        if self._store is None:
            return
        data = io.BytesIO()
        as_pillow(pixels).save(data, "PNG")
        self._store.put(sample_name(step), data.getvalue())
        for board in self._boards:
            board.picture(step, pixels)

    def flush(self) -> None:
        """Put what is still held where it outlives this process."""
        if self._store is not None and not self._store.is_local:
            self._put()
        for board in self._boards:
            board.flush()

    def close(self) -> None:
        """Write out what is still held, and end."""
        self.flush()
        for board in self._boards:
            board.close()

    def _add(self, line: Mapping[str, Any]) -> None:
        assert self._store is not None
        text = json.dumps(line, allow_nan=False) + "\n"
        if self._store.is_local:
            with self._store.local(METRICS).open("a", encoding="utf-8") as file:
                file.write(text)
            return
        self._lines.append(text)
        if time.monotonic() - self._put_at > _PUT_EVERY_S:
            self._put()

    def _put(self) -> None:
        assert self._store is not None
        self._store.put(METRICS, "".join(self._lines).encode())
        self._put_at = time.monotonic()


def sample_name(step: int) -> str:
    """Return the file of the pictures of a step, below the output."""
    return f"{SAMPLES}/step-{step:08d}.png"


def sample_step(name: str) -> int:
    """Return the step of a file of pictures; -1 for a file that is none."""
    digits = name.removeprefix("step-").removesuffix(".png")
    return int(digits) if digits.isdecimal() else -1


def read_journal(where: str | Path) -> list[dict[str, Any]]:
    """Return every line of a run's figures, in the order in which they were written."""
    return read_lines(Store(str(where)))


def read_lines(store: Store) -> list[dict[str, Any]]:
    """Return the lines of the run whose output a store is.

    A line that was being written when the run was killed is left out.
    """
    if not store.exists(METRICS):
        return []
    found = []
    for text in store.read(METRICS).decode(errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            found.append(line)
    return found
