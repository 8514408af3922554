"""What computes ERNIE-Image-Aes: a batch of images in, the logits of the score words out."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curation.errors import ConfigError
from curation.pipeline.stage import Execution, Finding
from stages.aesthetic.ernie_config import ErnieImageAesConfig
from stages.aesthetic.scorer import Image

DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
"""Precision -> what torch and vLLM call it."""


class Engine(ABC):
    """Computes the model; made for one worker, then loaded once.

    Attributes:
        batch_size: Images that `logits` takes at once, at most.
    """

    batch_size: int

    def __init__(self, config: ErnieImageAesConfig, execution: Execution) -> None:
        self.config = config
        self.execution = execution

    @abstractmethod
    def check(self) -> None:
        """Refuse to run where a package is missing; called without `load`.

        Raises:
            ConfigError: Says which, and how to get it.
        """

    def probe(self) -> Iterable[Finding]:
        """Say what is there besides packages and weights; called without `load`."""
        return ()

    @abstractmethod
    def load(self, folder: Path, digest: str) -> None:
        """Load the released checkpoint in `folder`, whose content has this digest."""

    @abstractmethod
    def logits(self, images: Sequence[Image]) -> list[NDArray[np.float64] | str]:
        """Return for each image the (101,) logits of the score words, or why there are none.

        Args:
            images: (448, 448, 3) RGB each. Called by several threads at the same time.
        """


def check_packages(*names: str, extra: str) -> None:
    """Refuse to go on without packages.

    Raises:
        ConfigError: Names the first that is missing, and the extra that has it.
    """
    for name in names:
        if find_spec(name) is None:
            message = f"{name} is not installed; `pip install 'longtail[{extra}]'`"
            raise ConfigError(message)
