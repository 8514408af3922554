"""What a captioner is: images and facts in, captions out, perhaps later."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.config import Config
from curation.pipeline.stage import Finding, Resources, Stage
from curation.pixels import PixelSpec
from schemas.caption import CAPTION


class CaptionConfig(Config):
    """What every captioner has.

    Attributes:
        captioner: Name of the captioner.
    """

    captioner: str = "template"


@dataclass(frozen=True)
class Caption:
    """One caption: its kind, its language (BCP 47) and its words."""

    variant: str
    language: str
    text: str


@dataclass(frozen=True)
class Outcome:
    """What a captioner made of an image.

    Attributes:
        status: One of `schemas.caption.CAPTION_STATUSES`; null where there is an error.
        captions: In the order of the variants asked for.
        columns: Values of the columns that the captioner writes besides.
        error: `code: text` where nothing came of the image; null otherwise.
    """

    status: str | None
    captions: tuple[Caption, ...] = ()
    columns: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None


class Captioner(ABC):
    """Describes images.

    Where a method is given `stage`, that is the configured `caption`, for what it knows: its facts,
    weights, execution and upstream.

    Attributes:
        version: Raised whenever the same image may get another caption.
        config_type: The captioner's configuration.
        resources: What a worker needs; null for what the stage says.
    """

    version: ClassVar[int]
    config_type: ClassVar[type[CaptionConfig]]
    resources: ClassVar[Resources | None] = None

    @abstractmethod
    def __init__(self, config: Any) -> None:
        """Keep the configuration, of `config_type`; nothing is loaded before `setup`."""

    def schema(self) -> pa.Schema:
        """Return the columns that the captioner fills."""
        return CAPTION

    @abstractmethod
    def reads(self) -> tuple[str, ...]:
        """Return the logical names of the columns that `start` looks at."""

    def optional(self) -> tuple[str, ...]:
        """Return those of `reads` that may be null."""
        return ()

    @abstractmethod
    def pixels(self) -> PixelSpec:
        """Return how the captioner wants to see images."""

    def weights(self) -> Mapping[str, str]:
        """Return role -> reference of the weights that the user names; see `Stage.weights`."""
        return {}

    def digests(self, stage: Stage[Any]) -> Mapping[str, str]:
        """Return digests of prompts and of what else decides, for the fingerprint."""
        return {}

    def learn(self) -> Mapping[str, Any]:
        """Return what workers must know and cannot look up; see `Stage.learn`."""
        return {}

    def check(self, stage: Stage[Any]) -> None:  # noqa: B027 (few have anything to refuse)
        """Refuse what cannot work here; see `Stage.check`."""

    def probe(self) -> Iterable[Finding]:
        """Look at what is used besides packages and weights; see `Stage.probe`."""
        return ()

    def setup(self, stage: Stage[Any]) -> None:  # noqa: B027 (the embedded one needs nothing)
        """Load what `start` needs."""

    @abstractmethod
    def start(self, pixels: NDArray[np.uint8], facts: Mapping[str, Any]) -> "Future[Outcome]":
        """Begin to describe an image; several may be under way at once, asked for by any thread.

        Args:
            pixels: (height, width, 3) sRGB, as `pixels()` asked for.
            facts: Column of `reads` -> value; null for nothing but `optional` ones.

        Returns:
            The outcome to come. What it raises is no fault of the image.
        """


def at_once(outcome: Outcome) -> "Future[Outcome]":
    """Return an outcome as one that has come already."""
    future: Future[Outcome] = Future()
    future.set_result(outcome)
    return future
