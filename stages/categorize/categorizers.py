"""The categorizers that `categorize` can use, by name."""

import io
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from curation.config import Config
from curation.errors import DatasetError
from curation.fingerprint import pretty_json
from stages.categorize import kmeans
from stages.categorize.names import name_nodes
from stages.categorize.tree import Tree, descend, grow, leaf_paths

MODEL = "model.json"
CENTERS = "centers.npy"
_FORMAT = 2
_READABLE = (1, 2)
"""Format 1 had one level and no names."""

_MAX_LEAVES = 65_536

NameSource = Literal["source_key", "alt_text", "caption"]


class CategorizeConfig(Config):
    """What every categorizer has.

    Attributes:
        categorizer: Name of the categorizer.
        sample_rows: Rows that it is fitted on, at most.
        seed: Draws the sample, and whatever else the fit draws.
        names_from: Where the words of categories' names come from: the images' paths in the source,
            the texts that came with them, the captions of a `caption` stage (which then cannot read
            this stage's categories).
    """

    categorizer: str = "clusters"
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

    @abstractmethod
    def assign(self, vectors: NDArray[np.float16]) -> Assignment:
        """Return the category of each of (rows, dimension); each row decides for itself alone.

        Raises:
            DatasetError: The artefact was fitted on vectors of another length.
        """


class ClustersConfig(CategorizeConfig):
    """Categories are clusters of the vectors, cut again into clusters.

    Attributes:
        branching: Clusters wanted below each node, level by level from the root; a node with few
            different rows gets fewer.
        iterations: Limit to the rounds of each fit.
    """

    categorizer: Literal["clusters"] = "clusters"
    branching: Annotated[
        tuple[Annotated[int, Field(ge=1, le=_MAX_LEAVES)], ...], Field(min_length=1, max_length=6)
    ] = (8, 6, 4)
    iterations: int = Field(default=30, ge=1, le=1000)

    @field_validator("branching")
    @classmethod
    def _not_too_many(cls, branching: tuple[int, ...]) -> tuple[int, ...]:
        if (leaves := math.prod(branching)) > _MAX_LEAVES:
            message = f"{leaves} leaves, expected at most {_MAX_LEAVES}"
            raise ValueError(message)
        return branching


class ClustersCategorizer(Categorizer):
    """Spherical k-means over any embedder's vectors, level by level; `c000` is the biggest sibling.

    A vector goes down the tree: to the nearest of the top centres, then to the nearest of those
    below it. That costs the sum of the levels, not their product, and makes every category a part
    of its parent.

    The artefact is `centers.npy`, int16 unit vectors in units of 1/16384, and `model.json`, whose
    `nodes` name the rows of the centres, parents before their children, siblings by size.
    """

    version = 2
    config_type = ClustersConfig

    def __init__(self, config: ClustersConfig) -> None:
        self._config = config
        self._tree: Tree | None = None

    def fit(self, vectors: NDArray[np.float16], words: Sequence[Set[str]]) -> Mapping[str, bytes]:
        config = self._config
        tree = grow(kmeans.quantize(vectors), config.branching, config.iterations, config.seed)
        names = name_nodes(tree.paths, [tree.paths[node] for node in tree.members], words)
        model = {
            "format": _FORMAT,
            "kind": "clusters",
            "levels": tree.levels,
            "unit": kmeans.UNIT,
            "dimension": vectors.shape[1],
            "num_clusters": len(leaf_paths(tree)),
            "requested_branching": list(config.branching),
            "sample_rows": len(vectors),
            "converged": tree.converged,
            "nodes": [
                {"path": path, "name": names[path], "sample_rows": size}
                for path, size in zip(tree.paths, tree.sizes, strict=True)
            ],
        }
        file = io.BytesIO()
        np.save(file, tree.centers, allow_pickle=False)
        return {MODEL: pretty_json(model), CENTERS: file.getvalue()}

    def load(self, artifact: Mapping[str, bytes]) -> Sequence[Leaf]:
        if missing := sorted({MODEL, CENTERS} - set(artifact)):
            message = f"the artefact has no {missing[0]}; name one that `categorize` has fitted"
            raise DatasetError(message)
        model: dict[str, Any] = json.loads(artifact[MODEL])
        found = (model.get("format"), model.get("kind"), model.get("unit"))
        if found not in [(format, "clusters", kmeans.UNIT) for format in _READABLE]:
            message = (
                f"the artefact's {MODEL} has format, kind and unit {found}; this version reads up "
                f"to {(_FORMAT, 'clusters', kmeans.UNIT)}: update Longtail or fit again"
            )
            raise DatasetError(message)
        nodes = model["nodes"]
        self._tree = Tree(
            paths=tuple(node["path"] for node in nodes),
            centers=np.load(io.BytesIO(artifact[CENTERS]), allow_pickle=False),
            sizes=tuple(node["sample_rows"] for node in nodes),
            levels=model["levels"],
            converged=model["converged"],
        )
        own = {node["path"]: str(node.get("name", node["path"])) for node in nodes}
        return [Leaf(path, _full_name(path, own)) for path in leaf_paths(self._tree)]

    def assign(self, vectors: NDArray[np.float16]) -> Assignment:
        assert self._tree is not None, "`load` comes first"
        dimension = self._tree.centers.shape[1]
        if vectors.shape[1] != dimension:
            message = (
                f"the artefact was fitted on vectors of {dimension} numbers, these have "
                f"{vectors.shape[1]}; remove `artifact:` or name one fitted on this embedder"
            )
            raise DatasetError(message)
        return Assignment(*descend(kmeans.quantize(vectors), self._tree))


def _full_name(path: str, own: Mapping[str, str]) -> str:
    parts = path.split("/")
    return "/".join(own["/".join(parts[:depth])] for depth in range(1, len(parts) + 1))


CATEGORIZERS: dict[str, type[Categorizer]] = {"clusters": ClustersCategorizer}
"""Name in YAML -> class."""
