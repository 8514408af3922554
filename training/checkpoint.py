"""Checkpoints: `output/step-<n>/`, written whole or not there.

A checkpoint exists once `complete.json`, put last, exists. Tensors lie in torch's distributed
checkpoint format, so any number of ranks can read what any other number wrote.

Ranks write together while they train on: each has a thread, and the threads meet in a group of
processes of their own, so that what they say to each other never mixes with what training says.
"""

import datetime as dt
import json
import re
import shutil
import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint import filesystem, state_dict_loader, state_dict_saver
from torch.distributed.checkpoint.api import CheckpointException

from curation.errors import LongtailError, StorageError, UsageError
from curation.fingerprint import pretty_json
from curation.storage import Store
from training.ranks import is_distributed, rank

# That one process saves alone is what we ask for. Not only around the call, which is in a thread.
warnings.filterwarnings("ignore", "torch.distributed is disabled", category=UserWarning)

_STEP = re.compile(r"step-(\d{8})")
COMPLETE = "complete.json"
STATE = "state.json"
TENSORS = "tensors"

FORMAT = 2
"""Of `state.json` and of what the tensors are called; only this one is read."""

LIMIT_S = 1800.0
"""How long a rank that has written its part waits for the others."""

_T = TypeVar("_T")


def step_folder(step: int) -> str:
    """Return the folder of a checkpoint below the output."""
    return f"step-{step:08d}"


class Checkpoints:
    """The checkpoints of a run.

    Args:
        url: The run's output, a folder or any fsspec URL.
        keep_last: Complete checkpoints that are kept; null for all.
        limit_s: How long a rank that has written its part waits for the others.
    """

    def __init__(self, url: str, keep_last: int | None = None, *, limit_s: float = LIMIT_S) -> None:
        self.store = Store(url)
        self._keep_last = keep_last
        self._limit_s = limit_s
        self._group: dist.ProcessGroup | None = None
        self._writing: threading.Thread | None = None
        self._error: BaseException | None = None

    def steps(self) -> list[int]:
        """Return the steps of the complete checkpoints, in order."""
        found = [int(match[1]) for name in self.store.names("") if (match := _STEP.fullmatch(name))]
        return sorted(s for s in found if self.store.exists(f"{step_folder(s)}/{COMPLETE}"))

    def state(self, step: int) -> dict[str, Any]:
        """Return what a checkpoint says besides its tensors.

        Raises:
            UsageError: It is not there, not complete, or of another format.
        """
        folder = step_folder(step)
        if not self.store.exists(f"{folder}/{COMPLETE}"):
            known = ", ".join(map(str, self.steps())) or "none"
            message = f"{self.store.uri(folder)}: no complete checkpoint; there are: {known}"
            raise UsageError(message)
        found: dict[str, Any] = json.loads(self.store.read(f"{folder}/{STATE}"))
        if found["format"] != FORMAT:
            message = (
                f"{self.store.uri(folder)}: a checkpoint of format {found['format']}, and this "
                f"version of Longtail reads {FORMAT}; use the version that wrote it"
            )
            raise UsageError(message)
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
        """Write a checkpoint; returns once everything is copied, the rest goes on in a thread.

        All ranks call it at the same step.

        Raises:
            StorageError: The checkpoint before could not be written.
        """
        self.wait()
        if is_distributed() and self._group is None:
            limit = dt.timedelta(seconds=self._limit_s)
            self._group = dist.new_group(backend="gloo", timeout=limit)
        self._writing = threading.Thread(
            target=self._write_in_thread,
            args=(step, _copied(tensors), pretty_json({**state, "format": FORMAT})),
            name="checkpoint",
        )
        self._writing.start()

    def wait(self) -> None:
        """Wait until the last checkpoint is written, and raise what went wrong with it.

        Where one rank failed, all of them raise it.

        Raises:
            StorageError: The checkpoint could not be written; it does not exist.
        """
        if self._writing is not None:
            self._writing.join()
            self._writing = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _write_in_thread(self, step: int, tensors: dict[str, Any], state: bytes) -> None:
        try:
            self._write(step, tensors, state)
        except BaseException as error:  # noqa: BLE001 (raised again by whoever waits)
            self._error = error

    def _write(self, step: int, tensors: dict[str, Any], state: bytes) -> None:
        """Write the parts of all ranks, then, on the first one, what makes them a checkpoint.

        Raises:
            StorageError: A rank could not write, or is gone.
        """
        try:
            self._together(step, lambda: self._begin(step))
            writer = self._together(step, lambda: self._writer(step))
            state_dict_saver.save(
                tensors,
                storage_writer=writer,
                process_group=self._group,
                no_dist=self._group is None,
            )
            self._together(step, lambda: self._finish(step, state))
        except CheckpointException as error:  # no Exception; torch raises it on every rank
            number, (cause, _) = min(error.failures.items())
            if not isinstance(cause, OSError | LongtailError):
                raise
            raise self._failure(step, f"rank {number}: {cause}") from error
        except RuntimeError as error:
            if self._group is None:
                raise
            lost = f"another rank ended, or said nothing for {self._limit_s:g} s ({error})"
            raise self._failure(step, lost) from error

    def _begin(self, step: int) -> None:
        if rank() == 0:
            self._remove(step_folder(step))  # what a killed run left half written

    def _finish(self, step: int, state: bytes) -> None:
        if rank() == 0:
            folder = step_folder(step)
            self.store.put(f"{folder}/{STATE}", state)
            self.store.put(f"{folder}/{COMPLETE}", pretty_json({"step": step}))
            self._forget_old()

    def _together(self, step: int, action: Callable[[], _T]) -> _T:
        """Do something on every rank; what goes wrong on one is raised on all of them.

        Without this the others would wait for the one that failed.
        """
        try:
            done = action()
        except (OSError, LongtailError) as error:
            raise self._failure(step, self._told(str(error)) or "") from error
        except Exception as error:
            self._told(str(error))
            raise
        other = self._told(None)
        if other is not None:
            raise self._failure(step, other)
        return done

    def _told(self, words: str | None) -> str | None:
        """Tell the other ranks what went wrong here; return what the first one of all tells."""
        mine = None if words is None else f"rank {rank()}: {words}"
        if self._group is None:
            return mine
        told: list[str | None] = [None] * dist.get_world_size(self._group)
        dist.all_gather_object(told, mine, group=self._group)
        return next((word for word in told if word is not None), None)

    def _failure(self, step: int, words: str) -> StorageError:
        whole = self.steps()
        return StorageError(
            f"{self.store.uri(step_folder(step))}: writing this checkpoint failed ({words}); "
            + (f"step {whole[-1]} is the newest whole one" if whole else "there is no whole one")
            + ": mend what is said, and resume"
        )

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
    """Return a copy in the main memory of every tensor, or part of one, in mappings and lists."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: _copied(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(part) for part in value]
    return value
