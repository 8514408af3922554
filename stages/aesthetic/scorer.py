"""What a scorer is: a class that judges by columns, or one that looks at images."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.config import Config
from curation.pipeline.stage import Finding, Resources, Stage
from curation.pixels import PixelSpec

Numbers = NDArray[np.float64]
Image = NDArray[np.uint8]


class AestheticConfig(Config):
    """How images are judged.

    Attributes:
        scorer: Name of the scorer. `heuristic`: measured statistics, without a model.
    """

    scorer: str = "heuristic"


class Scorer:
    """Judges images; what every scorer has.

    It is made with its configuration, before anything is loaded. `check` and `setup` get the stage,
    which knows where weights lie, the device, and the stages that it reads.

    Attributes:
        version: Raised when the same input may give another score.
        config_type: The scorer's configuration.
        resources: What a worker of it needs; null for what the stage says.
        reads: Logical names of the columns that it takes; no row it is given has a null.
    """

    version: ClassVar[str]
    config_type: ClassVar[type[AestheticConfig]] = AestheticConfig
    resources: ClassVar[Resources | None] = None
    reads: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: Any) -> None:
        self._config = config

    def digests(self) -> Mapping[str, str]:
        """Return digests of prompts, which enter the fingerprint."""
        return {}

    def weights(self) -> Mapping[str, str]:
        """Return role -> reference of the weights that the user names."""
        return {}

    def check(self, stage: Stage[Any]) -> None:
        """Refuse what cannot work here; see `Stage.check`."""

    def probe(self, stage: Stage[Any]) -> Iterable[Finding]:
        """Say what is there besides packages and weights; see `Stage.probe`."""
        return ()

    def setup(self, stage: Stage[Any]) -> None:
        """Load what `score` needs; called once in the process that scores."""


class ColumnScorer(Scorer, ABC):
    """Judges images by columns of other stages."""

    @abstractmethod
    def score(self, table: pa.Table) -> Numbers:
        """Return a score from 0 to 100 for each row of `table`; NaN where there is none."""


class ImageScorer(Scorer, ABC):
    """Judges images by looking at them."""

    @abstractmethod
    def pixels(self) -> PixelSpec:
        """Return how the scorer wants to see images."""

    @property
    @abstractmethod
    def batch_size(self) -> int:
        """Images that `score` takes at once, at most; known after `setup`."""

    @abstractmethod
    def score(self, images: Sequence[Image]) -> list[float | str]:
        """Return a score from 0 to 100 for each image, in order, or why it has none.

        A score depends on its own image alone, to the last bit: a library whose sums change with
        the size of a batch gets batches padded to one size. NaN becomes an error of the row; a
        reason is worded by `row_error`. Where a worker has several shards in hand, it is called by
        several threads at the same time.

        Args:
            images: (height, width, 3) RGB each, as `pixels` asks for; at most `batch_size`.
        """
