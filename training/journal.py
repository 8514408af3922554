"""What a run says while it trains: one JSON object a line, and TensorBoard."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

METRICS = "metrics.jsonl"


class Journal:
    """Writes figures by step.

    Args:
        folder: Where; null on ranks that are silent.
        step: Lines of later steps, which a run that was resumed has forgotten, are cut off.
    """

    def __init__(self, folder: Path | None, step: int) -> None:
        self._path = None if folder is None else folder / METRICS
        self._board: Any = None
        if folder is None or self._path is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        kept = []
        if self._path.exists():
            for line in self._path.read_text(encoding="utf-8").splitlines():
                try:
                    is_past = json.loads(line)["step"] <= step
                except (ValueError, KeyError):
                    continue  # a line that was being written when the run was killed
                if is_past:
                    kept.append(line + "\n")
        self._path.write_text("".join(kept), encoding="utf-8")
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return  # TensorBoard is a convenience; the lines hold everything
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Add the figures of a step."""
        if self._path is None:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **figures}) + "\n")
        if self._board is not None:
            for name, value in figures.items():
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Write out what is still held."""
        if self._board is not None:
            self._board.close()


def read_journal(folder: Path) -> list[dict[str, Any]]:
    """Return every line of a run's figures."""
    path = folder / METRICS
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
