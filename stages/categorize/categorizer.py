"""What every categorizer is, and what it says of a vector."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from curation.config import Config
from curation.pipeline.stage import Stage

NameSource = Literal["source_key", "alt_text", "caption"]


class CategorizeConfig(Config):
    """What every categorizer has.

    Attributes:
        categorizer: Name of the categorizer.
    """

    categorizer: str = "clusters"


class FittedConfig(CategorizeConfig):
    """What every categorizer has that finds its categories on a sample.

    Attributes:
        sample_rows: Rows that it is fitted on, at most.
        seed: Draws the sample, and whatever else the fit draws.
        names_from: Where the words of categories' names come from: the images' paths in the source,
            the texts that came with them, the captions of a `caption` stage (which then cannot read
            this stage's categories).
    """

    sample_rows: int = Field(default=200_000, ge=1, le=10_000_000)
    seed: int = 0
    names_from: tuple[NameSource, ...] = ("source_key", "alt_text")


@dataclass(frozen=True)
class Leaf:
    """A category that has none below it.

    Attributes:
        path: From the root down, `c017/c003`.
        name: The names along the path, `animals/dogs`; a node that no word describes is called as
            in `path`.
    """

    path: str
    name: str


@dataclass(frozen=True)
class Assignment:
    """The categories of some rows.

    Attributes:
        leaves: (rows,) number of the category among all leaves.
        distances: (rows,) 1 - cosine between the row and its category's centre.
        scores: (rows,) probability of the category, if the categorizer `is_scored`.
        margins: (rows,) that probability less the next one's, likewise.
    """

    leaves: NDArray[np.int32]
    distances: NDArray[np.float32]
    scores: NDArray[np.float32] | None = None
    margins: NDArray[np.float32] | None = None


class Categorizer(ABC):
    """Finds the category of any vector.

    Where a method is given `stage`, that is the configured `categorize`, for what it knows: its
    facts, weights, artefact, execution and upstream.

    Attributes:
        version: Raised whenever the same sample or vector may give another answer.
        config_type: The categorizer's configuration.
        is_scored: Whether it knows how sure it is, and says so for every row.
    """

    version: ClassVar[int]
    config_type: ClassVar[type[CategorizeConfig]]
    is_scored: ClassVar[bool] = False

    def weights(self) -> Mapping[str, str]:
        """Return role -> reference of the weights that the user names."""
        return {}

    def digests(self) -> Mapping[str, str]:
        """Return digests of what else decides, for the fingerprint."""
        return {}

    def learn(self, paths: Mapping[str, Path]) -> Mapping[str, Any]:
        """Return, as JSON, what must be known of `weights` before `setup`; see `Stage.learn`.

        Args:
            paths: Role -> where they lie on this machine.

        Raises:
            ConfigError: One is here and wrong.
        """
        return {}

    def check(self, stage: Stage[Any]) -> None:  # noqa: B027 (few have anything to refuse)
        """Refuse what cannot work here; see `Stage.check`."""

    @abstractmethod
    def setup(self, stage: Stage[Any]) -> Sequence[Leaf]:
        """Load what `assign` needs, and return every leaf.

        Raises:
            UsageError: What is there is of another kind, or made for other vectors.
        """

    @abstractmethod
    def assign(self, vectors: NDArray[np.float16]) -> Assignment:
        """Return the category of each of (rows, dimension); each row decides for itself alone.

        Raises:
            UsageError: It was made for vectors of another length.
        """


class FittedCategorizer(Categorizer):
    """Makes an artefact first: of categories found on a sample, or of what describes given ones.

    One whose configuration is no `FittedConfig` looks at no sample.

    Attributes:
        fits_with: As `FittedStage.fit_with`.
        fit_ignores: As `FittedStage.fit_ignores`.
    """

    fits_with: ClassVar[str | None] = None
    fit_ignores: ClassVar[frozenset[str]] = frozenset()

    def prepare(self, stage: Stage[Any]) -> None:
        """Take from the stage what `fit` needs beside the sample; called before it."""

    @abstractmethod
    def fit(self, vectors: NDArray[np.float16], words: Sequence[Set[str]]) -> Mapping[str, bytes]:
        """Return the artefact's files: the same bytes for the same input, at least one.

        Args:
            vectors: (rows, dimension), in the order of a hash: random and yet given.
            words: For each row the words that its texts have, from `names.words_of`.
        """

    @abstractmethod
    def load(self, artifact: Mapping[str, bytes]) -> Sequence[Leaf]:
        """Take what `fit` made into use, and return every leaf.

        Raises:
            DatasetError: The artefact is of a newer format, or of another kind.
        """

    def setup(self, stage: Stage[Any]) -> Sequence[Leaf]:
        assert stage.artifact is not None, "the runner fits before it categorizes"
        return self.load(stage.artifact)
