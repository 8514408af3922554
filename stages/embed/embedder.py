"""What an embedder is."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from curation.config import Config
from curation.errors import ConfigError
from curation.pipeline.stage import Execution
from curation.pixels import PixelSpec


class EmbedConfig(Config):
    """What every embedder has.

    Attributes:
        embedder: Name of the embedder.
    """

    embedder: str = "descriptor"


class Embedder(ABC):
    """Turns images into vectors; length 1 and half precision are the stage's business.

    The stage hands it what it knows: `facts` is what `learn` said, here or where the pipeline was
    run, with the digests of `weights` under `weights`.

    Attributes:
        version: Raised whenever the same image may give another vector.
        config_type: The embedder's configuration.
        batch_size: Images that `embed` takes at once, at most.
        reads_text: Whether it has `embed_text`, whose vectors are near those of images that the
            text describes.
    """

    version: ClassVar[int]
    config_type: ClassVar[type[EmbedConfig]]
    batch_size: ClassVar[int] = 1
    reads_text: ClassVar[bool] = False

    @abstractmethod
    def dimension(self, facts: Mapping[str, Any]) -> int:
        """Length of a vector; known before `setup`."""

    @abstractmethod
    def pixels(self, facts: Mapping[str, Any]) -> PixelSpec:
        """Return how the embedder wants to see images."""

    def digests(self, facts: Mapping[str, Any]) -> Mapping[str, str]:
        """Return digests of what decides on vectors beside configuration and `weights`."""
        return {}

    def weights(self) -> Mapping[str, str]:
        """Return role -> reference of the weights that the user names."""
        return {}

    def learn(self, paths: Mapping[str, Path]) -> Mapping[str, Any]:
        """Return, as JSON, what must be known before `setup`; `Stage.learn` says the rest.

        Args:
            paths: Role -> where the weights lie on this machine.

        Raises:
            ConfigError: It is not to be learnt from these files.
        """
        return {}

    def check(self, execution: Execution) -> None:  # noqa: B027 (most embedders need nothing)
        """Refuse what cannot work here, such as a package that is not installed.

        Raises:
            ConfigError: Says what is missing and how to get it.
        """

    @abstractmethod
    def setup(
        self, facts: Mapping[str, Any], paths: Mapping[str, Path], execution: Execution
    ) -> None:
        """Load what `embed` needs.

        Args:
            facts: What was learnt.
            paths: Role -> where the weights lie on this machine.
            execution: On what device, and in batches of what size.
        """

    @abstractmethod
    def embed(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.floating[Any]]:
        """Return (len(images), dimension), in order.

        A vector depends on its own image alone, to the last bit: a library whose sums change with
        the size of a batch gets batches padded to one size. A vector that cannot be had is NaN.
        Several threads may call it at once.
        """

    def embed_text(self, text: str) -> NDArray[np.floating[Any]]:
        """Return (dimension,) for a text.

        Raises:
            ConfigError: The embedder reads no text.
        """
        name = self.config_type.model_fields["embedder"].default
        message = (
            f"the embedder {name} knows no words; embed with a CLIP model (`embedder: open_clip`), "
            "or search with a picture"
        )
        raise ConfigError(message)
