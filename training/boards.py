"""Who else is told what a run says: TensorBoard, and Weights & Biases if a recipe asks for it."""

import importlib.util
import netrc
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from curation.config import Config
from curation.errors import UsageError
from curation.storage import Store

TENSORBOARD = "tensorboard"
WANDB = "wandb"


class WandbConfig(Config):
    """A run in Weights & Biases; its key comes from the environment (`WANDB_API_KEY`) alone.

    Attributes:
        project: Its name there.
        entity: User or team; null for the key's own.
        group: Under which runs are shown together.
        tags: Words to find it by.
        mode: `online`, or `offline` for files in `wandb/` of the output, which must be a folder,
            that `wandb sync` sends later.
    """

    project: str
    entity: str | None = None
    group: str | None = None
    tags: tuple[str, ...] = ()
    mode: Literal["online", "offline"] = "online"

    def check(self, output: str) -> None:
        """Refuse what cannot be, before a device is taken.

        Args:
            output: The run's.

        Raises:
            UsageError: The package is missing, there is no key, or no folder for offline files.
        """
        if importlib.util.find_spec("wandb") is None:
            message = (
                "journal.wandb: the package `wandb` is not installed; run "
                "`pip install 'longtail[wandb]'`, or take journal.wandb out of the recipe"
            )
            raise UsageError(message)
        if self.mode == "offline" and not Store(output).is_local:
            message = (
                f"journal.wandb.mode: offline writes files that grow, which {output} cannot hold; "
                "take online, or a folder as output"
            )
            raise UsageError(message)
        if self.mode == "online" and not _has_key():
            message = (
                "journal.wandb: there is no key for Weights & Biases; set WANDB_API_KEY in the "
                "environment, or journal.wandb.mode: offline"
            )
            raise UsageError(message)


class JournalConfig(Config):
    """Where figures go besides `metrics.jsonl` and TensorBoard, and what they are measured by.

    Attributes:
        wandb: A run in Weights & Biases; null for none.
        peak_tflops: Dense bf16 teraFLOP/s of one device, for MFU; null for what is published of
            it. Where that is not known either, no MFU is written.
    """

    wandb: WandbConfig | None = None
    peak_tflops: float | None = Field(default=None, gt=0)


class Board(Protocol):
    """Shows figures and pictures."""

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """Show the figures of a step."""
        ...

    def picture(self, step: int, pixels: NDArray[np.uint8]) -> None:
        """Show a (height, width, 3) sheet of pictures."""
        ...

    def flush(self) -> None:
        """Put what was shown where it outlives this process."""
        ...

    def close(self) -> None:
        """End."""
        ...


def make_boards(
    config: JournalConfig, store: Store, step: int, *, run_id: str, facts: Mapping[str, Any]
) -> list[Board]:
    """Make the boards of a run.

    Args:
        config: Which.
        store: The run's output.
        step: The step that the run goes on from; what TensorBoard has of later ones is purged.
        run_id: The same for all processes that go on with the run.
        facts: What is said of the run.
    """
    boards: list[Board] = []
    if importlib.util.find_spec("tensorboard") is not None:  # a convenience: the lines hold all
        boards.append(TensorBoard(store, step))
    if config.wandb is not None:
        boards.append(WandbRun(config.wandb, store, run_id, facts))
    return boards


class TensorBoard:
    """Event files in `tensorboard/` of the output.

    An object store has no files that grow: there, what was shown since the last flush is a file of
    its own.
    """

    def __init__(self, store: Store, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._spool = _Spool(store, TENSORBOARD)
        self._writer: Any = SummaryWriter(str(self._spool.folder), purge_step=step + 1)

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def picture(self, step: int, pixels: NDArray[np.uint8]) -> None:
        self._writer.add_image("samples", pixels, step, dataformats="HWC")

    def flush(self) -> None:
        if self._spool.is_in_place:
            self._writer.flush()
        else:
            self._writer.close()  # it opens another file with what comes next
            self._spool.put()

    def close(self) -> None:
        self._writer.close()
        self._spool.close()


class WandbRun:
    """A run in Weights & Biases.

    Its own counter only rises, so figures are drawn over a metric `step`: what a killed run said
    after the step that it is gone on from stays there, and is drawn over.
    """

    def __init__(
        self, config: WandbConfig, store: Store, run_id: str, facts: Mapping[str, Any]
    ) -> None:
        import wandb

        self._wandb: Any = wandb
        self._spool = _Spool(store, WANDB)  # gone with this process where the output is no folder
        settings = wandb.Settings(
            console="off", disable_git=True, disable_code=True, x_save_requirements=False
        )
        try:
            self._run: Any = wandb.init(
                project=config.project,
                entity=config.entity,
                group=config.group,
                tags=list(config.tags),
                mode=config.mode,
                id=run_id,
                resume="allow" if config.mode == "online" else None,
                name=str(facts["recipe"]["name"]),
                dir=str(self._spool.folder.parent),
                config=dict(facts),
                settings=settings,
            )
        except wandb.errors.Error as error:
            words = " ".join(str(error).split())
            message = (
                f"journal.wandb: Weights & Biases does not take the run: {words}; look at the key, "
                "entity and network, or set journal.wandb.mode: offline"
            )
            raise UsageError(message) from error
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        self._run.log({"step": step, **figures})

    def picture(self, step: int, pixels: NDArray[np.uint8]) -> None:
        self._run.log({"step": step, "samples": self._wandb.Image(pixels)})

    def flush(self) -> None:
        pass  # it sends by itself

    def close(self) -> None:
        self._run.finish()


class _Spool:
    """A folder of this machine that ends up below a run's output.

    Attributes:
        folder: Where to write.
        is_in_place: Whether it is the output's own.
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        self._put: dict[str, tuple[int, int]] = {}
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self.is_in_place = store.is_local
        if self.is_in_place:
            self.folder = store.local(name)
        else:
            self._temporary = tempfile.TemporaryDirectory(prefix="longtail-")
            self.folder = Path(self._temporary.name) / name
        self.folder.mkdir(parents=True, exist_ok=True)

    def put(self) -> None:
        """Put what has changed."""
        for path in sorted(self.folder.rglob("*")):
            if path.is_symlink() or not path.is_file():
                continue
            name, status = path.relative_to(self.folder).as_posix(), path.stat()
            stamp = (status.st_size, status.st_mtime_ns)
            if self._put.get(name) != stamp:
                self._store.put(f"{self._name}/{name}", path.read_bytes())
                self._put[name] = stamp

    def close(self) -> None:
        """Put what has changed, and leave nothing on this machine."""
        if self._temporary is not None:
            self.put()
            self._temporary.cleanup()


def _has_key() -> bool:
    """Say whether there is a key, in the environment or where `wandb login` leaves it."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc(str(path)).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
