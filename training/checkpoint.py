"""Checkpoints: `output/step-<n>/`, written whole or not there.

A checkpoint exists once `complete.json`, put last, exists. Tensors lie in torch's distributed
checkpoint format, so any number of ranks can read what any other number wrote.
"""

import json
import re
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint import filesystem, state_dict_loader, state_dict_saver

from curation.errors import UsageError
from curation.fingerprint import pretty_json
from curation.storage import Store
from training.ranks import is_distributed, rank

_STEP = re.compile(r"step-(\d{8})")
COMPLETE = "complete.json"
STATE = "state.json"
TENSORS = "tensors"


def step_folder(step: int) -> str:
    """Return the folder of a checkpoint below the output."""
    return f"step-{step:08d}"


class Checkpoints:
    """The checkpoints of a run.

    Args:
        url: The run's output, a folder or any fsspec URL.
        keep_last: Complete checkpoints that are kept; null for all.
    """

    def __init__(self, url: str, keep_last: int | None = None) -> None:
        self.store = Store(url)
        self._keep_last = keep_last
        self._writing: threading.Thread | None = None
        self._error: BaseException | None = None

    def steps(self) -> list[int]:
        """Return the steps of the complete checkpoints, in order."""
        found = [int(match[1]) for name in self.store.names("") if (match := _STEP.fullmatch(name))]
        return sorted(s for s in found if self.store.exists(f"{step_folder(s)}/{COMPLETE}"))

    def state(self, step: int) -> dict[str, Any]:
        """Return what a checkpoint says besides its tensors.

        Raises:
            UsageError: It is not there, or not complete.
        """
        folder = step_folder(step)
        if not self.store.exists(f"{folder}/{COMPLETE}"):
            known = ", ".join(map(str, self.steps())) or "none"
            message = f"{self.store.uri(folder)}: no complete checkpoint; there are: {known}"
            raise UsageError(message)
        found: dict[str, Any] = json.loads(self.store.read(f"{folder}/{STATE}"))
        return found

    def load(self, step: int, tensors: dict[str, Any]) -> None:
        """Read tensors into those of `tensors`, in place."""
        state_dict_loader.load(
            tensors, storage_reader=self._reader(step), no_dist=not is_distributed()
        )

    def shapes(self, step: int) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor of a checkpoint, by its name with dots."""
        found = self._reader(step).read_metadata().state_dict_metadata
        return {name: tuple(told.size) for name, told in found.items() if hasattr(told, "size")}

    def save(self, step: int, tensors: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Write a checkpoint; returns once the tensors are copied, the rest goes on in a thread.

        Several ranks write together, and wait.
        """
        self.wait()
        if is_distributed():
            self._write(step, dict(tensors), state)
            return
        copied = _copied(tensors)
        self._writing = threading.Thread(
            target=self._write_in_thread, args=(step, copied, dict(state)), name="checkpoint"
        )
        self._writing.start()

    def wait(self) -> None:
        """Wait until the last checkpoint is written, and raise what went wrong with it."""
        if self._writing is not None:
            self._writing.join()
            self._writing = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _write_in_thread(self, step: int, tensors: dict[str, Any], state: dict[str, Any]) -> None:
        try:
            self._write(step, tensors, state)
        except BaseException as error:  # noqa: BLE001 (raised again by whoever waits)
            self._error = error

    def _write(self, step: int, tensors: dict[str, Any], state: Mapping[str, Any]) -> None:
        folder = step_folder(step)
        is_first = rank() == 0
        if is_first:
            self._remove(folder)  # what a killed run left half written
        if is_distributed():
            dist.barrier()
        state_dict_saver.save(
            tensors, storage_writer=self._writer(step), no_dist=not is_distributed()
        )
        if is_first:
            self.store.put(f"{folder}/{STATE}", pretty_json(dict(state)))
            self.store.put(f"{folder}/{COMPLETE}", pretty_json({"step": step}))
            self._forget_old()
        if is_distributed():
            dist.barrier()

    def _forget_old(self) -> None:
        if self._keep_last is not None:
            for step in self.steps()[: -self._keep_last]:
                folder = step_folder(step)
                self.store.delete(f"{folder}/{COMPLETE}")
                self._remove(folder)

    def _remove(self, folder: str) -> None:
        if self.store.is_local:
            path = self.store.local(folder)
            if path.exists():
                shutil.rmtree(path)
            return
        for name in self.store.files(folder):
            self.store.delete(name)

    def _path(self, step: int) -> str:
        name = f"{step_folder(step)}/{TENSORS}"
        return str(self.store.local(name)) if self.store.is_local else self.store.uri(name)

    def _writer(self, step: int) -> Any:
        if self.store.is_local:
            Path(self._path(step)).mkdir(parents=True, exist_ok=True)
            return filesystem.FileSystemWriter(self._path(step), sync_files=True)
        from torch.distributed.checkpoint._fsspec_filesystem import FsspecWriter

        return FsspecWriter(self._path(step))

    def _reader(self, step: int) -> Any:
        if self.store.is_local:
            return filesystem.FileSystemReader(self._path(step))
        from torch.distributed.checkpoint._fsspec_filesystem import FsspecReader

        return FsspecReader(self._path(step))


def _copied(value: Any) -> Any:
    """Return a copy on the CPU of every tensor in nested mappings and lists."""
    if isinstance(value, Tensor):
        copy = torch.empty_like(value, device="cpu")
        return copy.copy_(value.detach())
    if isinstance(value, Mapping):
        return {key: _copied(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(part) for part in value]
    return value
