"""The categorizers that `categorize` can use, by name."""

import io
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from curation.config import Config
from curation.errors import DatasetError
from curation.fingerprint import pretty_json
from stages.categorize import kmeans

MODEL = "model.json"
CENTERS = "centers.npy"
_FORMAT = 1


class CategorizeConfig(Config):
    """What every categorizer has.

    Attributes:
        categorizer: Name of the categorizer.
        sample_rows: Rows that it is fitted on, at most.
        seed: Draws the sample, and whatever else the fit draws.
    """

    categorizer: str = "clusters"
    sample_rows: int = Field(default=200_000, ge=1, le=10_000_000)
    seed: int = 0


@dataclass(frozen=True)
class Assignment:
    """The categories of some rows.

    Attributes:
        leaves: (rows,) number of the category among all leaves.
        distances: (rows,) 1 - cosine between the row and its category's centre.
    """

    leaves: NDArray[np.int32]
    distances: NDArray[np.float32]


class Categorizer(ABC):
    """Finds categories on a sample of vectors, and the category of any vector.

    Attributes:
        version: Raised whenever the same sample or vector may give another answer.
        config_type: The categorizer's configuration.
    """

    version: ClassVar[int]
    config_type: ClassVar[type[CategorizeConfig]]

    @abstractmethod
    def fit(self, vectors: NDArray[np.float16]) -> Mapping[str, bytes]:
        """Return the artefact's files: the same bytes for the same (rows, dimension), at least one.

        The rows come in the order of a hash: their order is random and yet given.
        """

    @abstractmethod
    def load(self, artifact: Mapping[str, bytes]) -> Sequence[str]:
        """Take what `fit` made into use, and return the path of every leaf.

        Raises:
            DatasetError: The artefact is of a newer format, or of another kind.
        """

    @abstractmethod
    def assign(self, vectors: NDArray[np.float16]) -> Assignment:
        """Return the category of each of (rows, dimension); each row decides for itself alone.

        Raises:
            DatasetError: The artefact was fitted on vectors of another length.
        """


class ClustersConfig(CategorizeConfig):
    """Categories are clusters of the vectors.

    Attributes:
        num_clusters: Clusters wanted; a small sample gives fewer, and `model.json` says how many.
        iterations: Limit to the rounds of the fit.
    """

    categorizer: Literal["clusters"] = "clusters"
    num_clusters: int = Field(default=64, ge=1, le=65_536)
    iterations: int = Field(default=30, ge=1, le=1000)


class ClustersCategorizer(Categorizer):
    """Spherical k-means over any embedder's vectors; `c000` is the biggest cluster of the sample.

    The artefact is `centers.npy`, int16 unit vectors in units of 1/16384, and `model.json`, whose
    `nodes` name the rows of the centres in order. A node's path tells its place in the tree, so
    that more levels need no other format; this version fits and reads one level.
    """

    version = 1
    config_type = ClustersConfig

    def __init__(self, config: ClustersConfig) -> None:
        self._config = config
        self._centers: kmeans.Integers = np.zeros((0, 0), np.int16)

    def fit(self, vectors: NDArray[np.float16]) -> Mapping[str, bytes]:
        config = self._config
        found = kmeans.fit(
            kmeans.quantize(vectors), config.num_clusters, config.iterations, config.seed
        )
        names = _node_names(len(found.sizes))
        model = {
            "format": _FORMAT,
            "kind": "clusters",
            "levels": 1,
            "unit": kmeans.UNIT,
            "dimension": vectors.shape[1],
            "num_clusters": len(found.sizes),
            "requested_clusters": config.num_clusters,
            "sample_rows": len(vectors),
            "iterations": found.iterations,
            "converged": found.converged,
            "nodes": [
                {"path": name, "sample_rows": size}
                for name, size in zip(names, found.sizes, strict=True)
            ],
        }
        file = io.BytesIO()
        np.save(file, found.centers, allow_pickle=False)
        return {MODEL: pretty_json(model), CENTERS: file.getvalue()}

    def load(self, artifact: Mapping[str, bytes]) -> Sequence[str]:
        if missing := sorted({MODEL, CENTERS} - set(artifact)):
            message = f"the artefact has no {missing[0]}; name one that `categorize` has fitted"
            raise DatasetError(message)
        model: dict[str, Any] = json.loads(artifact[MODEL])
        found = (model.get("format"), model.get("kind"), model.get("levels"), model.get("unit"))
        if found != (_FORMAT, "clusters", 1, kmeans.UNIT):
            message = (
                f"the artefact's {MODEL} has format, kind, levels and unit {found}; this version "
                f"reads {(_FORMAT, 'clusters', 1, kmeans.UNIT)}: update Longtail or fit again"
            )
            raise DatasetError(message)
        self._centers = np.load(io.BytesIO(artifact[CENTERS]), allow_pickle=False)
        return [node["path"] for node in model["nodes"]]

    def assign(self, vectors: NDArray[np.float16]) -> Assignment:
        dimension = self._centers.shape[1]
        if vectors.shape[1] != dimension:
            message = (
                f"the artefact was fitted on vectors of {dimension} numbers, these have "
                f"{vectors.shape[1]}; remove `artifact:` or name one fitted on this embedder"
            )
            raise DatasetError(message)
        rows = kmeans.quantize(vectors)
        leaves, products = kmeans.nearest_centers(rows, self._centers)
        return Assignment(leaves, kmeans.cosine_distances(rows, self._centers, leaves, products))


def _node_names(count: int) -> list[str]:
    """Return `c000`, `c001`, ..., wide enough that text order is the order of numbers."""
    width = max(3, len(str(count - 1)))
    return [f"c{number:0{width}d}" for number in range(count)]


CATEGORIZERS: dict[str, type[Categorizer]] = {"clusters": ClustersCategorizer}
