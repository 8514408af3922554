"""What every prober is."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.config import Config
from curation.pipeline.stage import Stage


class AttributesConfig(Config):
    """What every prober has.

    Attributes:
        prober: Name of the prober.
    """

    prober: str = "measured"


class Prober(ABC):
    """Answers yes or no questions about images by columns of other stages.

    Where a method is given `stage`, that is the configured `attributes`.

    Attributes:
        version: Raised whenever the same input may give another answer.
        config_type: The prober's configuration.
        reads: Logical names of the columns that `answer` takes; no row it is given has a null.
        fits_with: As `FittedStage.fit_with`, for a prober that is fitted.
        fit_ignores: As `FittedStage.fit_ignores`.
        is_fitted: Whether an artefact is made first.
    """

    version: ClassVar[int]
    config_type: ClassVar[type[AttributesConfig]]
    reads: ClassVar[tuple[str, ...]]
    fits_with: ClassVar[str | None] = None
    fit_ignores: ClassVar[frozenset[str]] = frozenset()
    is_fitted: ClassVar[bool] = False

    @abstractmethod
    def questions(self) -> Mapping[str, str]:
        """Return name -> what its column says, a sentence for people."""

    def weights(self) -> Mapping[str, str]:
        """Return role -> reference of the files that the user names."""
        return {}

    def learn(self, paths: Mapping[str, Path]) -> Mapping[str, Any]:
        """Return, as JSON, what must be known of `weights` before `setup`; see `Stage.learn`.

        Args:
            paths: Role -> where they lie on this machine.

        Raises:
            UsageError: One is here and wrong.
        """
        return {}

    def check(self, stage: Stage[Any]) -> None:  # noqa: B027 (few have anything to refuse)
        """Refuse what cannot work here; see `Stage.check`."""

    def fit(self, stage: Stage[Any]) -> Mapping[str, bytes]:
        """Return the artefact's files; only where `is_fitted`."""
        raise NotImplementedError(type(self).__name__)

    def setup(self, stage: Stage[Any]) -> None:  # noqa: B027 (what only measures loads nothing)
        """Load what `answer` needs."""

    @abstractmethod
    def answer(self, table: pa.Table) -> NDArray[np.float32]:
        """Return (rows, questions), 0 for no and 1 for yes; each row for itself alone."""
