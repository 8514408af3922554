"""Categories that are clusters of clusters, found on a sample of the corpus."""

import io
import json
import math
from collections.abc import Mapping, Sequence, Set
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from curation.errors import DatasetError
from curation.fingerprint import pretty_json
from stages.categorize import kmeans
from stages.categorize.categorizer import Assignment, FittedCategorizer, FittedConfig, Leaf
from stages.categorize.names import full_name, name_nodes
from stages.categorize.tree import Tree, descend, grow, leaf_paths

MODEL = "model.json"
CENTERS = "centers.npy"
_FORMAT = 2
_READABLE = (1, 2)
"""Format 1 had one level and no names."""

MAX_LEAVES = 65_536


class ClustersConfig(FittedConfig):
    """Categories are clusters of the vectors, cut again into clusters.

    Attributes:
        branching: Clusters wanted below each node, level by level from the root; a node with few
            different rows gets fewer.
        iterations: Limit to the rounds of each fit.
    """

    categorizer: Literal["clusters"] = "clusters"
    branching: Annotated[
        tuple[Annotated[int, Field(ge=1, le=MAX_LEAVES)], ...], Field(min_length=1, max_length=6)
    ] = (8, 6, 4)
    iterations: int = Field(default=30, ge=1, le=1000)

    @field_validator("branching")
    @classmethod
    def _not_too_many(cls, branching: tuple[int, ...]) -> tuple[int, ...]:
        if (leaves := math.prod(branching)) > MAX_LEAVES:
            message = f"{leaves} leaves, expected at most {MAX_LEAVES}"
            raise ValueError(message)
        return branching


class ClustersCategorizer(FittedCategorizer):
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
        return [Leaf(path, full_name(path, own)) for path in leaf_paths(self._tree)]

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
