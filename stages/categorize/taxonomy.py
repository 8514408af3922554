"""Categories of a taxonomy, found by their texts: zero-shot classification over a tree."""

import io
import json
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from curation.config import read_text
from curation.errors import DatasetError
from curation.fingerprint import pretty_json
from curation.pipeline.stage import Stage
from curation.weights import Reference
from stages.categorize import fixed_point, kmeans
from stages.categorize.beam import Branches, search
from stages.categorize.categorizer import Assignment, CategorizeConfig, FittedCategorizer, Leaf
from stages.categorize.taxonomy_file import (
    OTHER,
    SHIPPED,
    Taxonomy,
    parse_taxonomy,
    read_taxonomy,
)
from training.encoders.zero_shot import check_text_tower, embed_texts, mean_direction

TREE = "taxonomy.json"
TEXTS = "texts.npy"
ROLE = "taxonomy"
_FORMAT = 1


class TaxonomyConfig(CategorizeConfig):
    """Categories come from a taxonomy and are described by texts.

    Attributes:
        taxonomy: The YAML file, a path or a URL; null for the one that comes with Longtail,
            `text_to_image`.
        beam: Nodes that are followed at each level. With the number of leaves, all are looked at.
        temperature: Divides the model's own logit scale; above 1 for probabilities that are less
            sure of themselves. Where two branches compete, it may also decide between them: the
            lower, the more the first levels count. `longtail calibrate` finds it.
        threshold: A best probability below this makes the category `other`.
    """

    categorizer: Literal["taxonomy"] = "taxonomy"
    taxonomy: str | None = Field(default=None, exclude=True)
    beam: int = Field(default=8, ge=2, le=4096)
    temperature: float = Field(default=1.0, ge=0.01, le=100)
    threshold: float = Field(default=0.05, ge=0, lt=1)

    @field_validator("taxonomy")
    @classmethod
    def _reference(cls, value: str | None) -> str | None:
        return None if value is None else Reference.parse(value).text


class TaxonomyCategorizer(FittedCategorizer):
    """Descends a tree of texts: at each node, how near is the image to the texts of each child?

    `stages.categorize.beam` says what the probability of a category is. `score` is that of the best
    leaf, `margin` what it is ahead of the next one that the search met. The scale is the model's
    own until `temperature` is calibrated: take a score as an order, not as a frequency, before.

    A leaf's vector is the mean of its texts' vectors, scaled to length 1. An inner node's is the
    mean of its children's; where it has `prompts` of its own, these count half. Names of groups
    (`pets and farm animals`) are no captions that anybody writes, so they alone do not decide.

    The artefact is made once for a dataset by the text tower of the model behind `embed`, from no
    image at all: `texts.npy`, int16 unit vectors in units of 1/16384, and `taxonomy.json`. With it,
    workers need no model: they compute in whole numbers.
    """

    version = 1
    config_type = TaxonomyConfig
    is_scored = True
    fits_with = "embed"
    fit_ignores = frozenset({"beam", "temperature", "threshold"})

    def __init__(self, config: TaxonomyConfig) -> None:
        self._config = config
        self._stage: Stage[Any] | None = None
        self._branches: Branches | None = None
        self._factor = 1
        self._threshold = 0
        self._leaf_of: NDArray[np.int32] = np.zeros(0, np.int32)
        self._other = 0

    def weights(self) -> Mapping[str, str]:
        return {ROLE: self._config.taxonomy or str(SHIPPED)}

    def learn(self, paths: Mapping[str, Path]) -> Mapping[str, Any]:
        if self._config.taxonomy is None:
            return {}
        text = read_text(paths[ROLE])
        parse_taxonomy(text, self._config.taxonomy)
        return {ROLE: text}  # workers need not have the file

    def check(self, stage: Stage[Any]) -> None:
        check_text_tower(stage.upstream["embed"])

    def prepare(self, stage: Stage[Any]) -> None:
        self._stage = stage

    def fit(self, vectors: NDArray[np.float16], words: Sequence[Set[str]]) -> Mapping[str, bytes]:
        assert self._stage is not None, "`prepare` comes first"
        given = self._stage.facts.get(ROLE)
        taxonomy = (
            read_taxonomy(self._stage.weights_path(ROLE))
            if given is None
            else parse_taxonomy(given, "taxonomy")
        )
        groups = [node.texts for node in taxonomy.nodes]
        texts = embed_texts(self._stage.upstream["embed"], groups)
        return make_artifact(taxonomy, texts.vectors, texts.logit_scale)

    def load(self, artifact: Mapping[str, bytes]) -> Sequence[Leaf]:
        model, centers = open_artifact(artifact)
        nodes = model["nodes"]
        self._branches = Branches.make(centers, [node["parent"] for node in nodes])
        self._factor = fixed_point.scale_factor(model["logit_scale"] / self._config.temperature)
        self._threshold = round(self._config.threshold * fixed_point.ONE)
        inner = {node["parent"] for node in nodes}
        leaves = [Leaf(n["path"], n["name"]) for i, n in enumerate(nodes) if i not in inner]
        ordered = sorted([*leaves, Leaf(OTHER, OTHER)], key=lambda leaf: leaf.path)
        place = {leaf.path: number for number, leaf in enumerate(ordered)}
        self._other = place[OTHER]
        self._leaf_of = np.array([place.get(node["path"], -1) for node in nodes], np.int32)
        return ordered

    def assign(self, vectors: NDArray[np.float16]) -> Assignment:
        assert self._branches is not None, "`load` comes first"
        centers = self._branches.vectors
        if vectors.shape[1] != centers.shape[1]:
            message = (
                f"the artefact has texts of {centers.shape[1]} numbers, the images' vectors have "
                f"{vectors.shape[1]}; remove `artifact:` or name one made with this embedder"
            )
            raise DatasetError(message)
        rows = kmeans.quantize(vectors)
        best = search(rows, self._branches, self._factor, self._config.beam)
        is_other = best.probability < self._threshold
        nearest = best.leaf.astype(np.int32)
        return Assignment(
            leaves=np.where(is_other, self._other, self._leaf_of[nearest]).astype(np.int32),
            distances=kmeans.cosine_distances(rows, centers, nearest, best.product),
            scores=_share(best.probability),
            margins=_share(best.probability - best.second),
        )


def make_artifact(
    taxonomy: Taxonomy, texts: NDArray[np.float64], logit_scale: float
) -> dict[str, bytes]:
    """Return the artefact's files.

    Args:
        taxonomy: The tree.
        texts: (nodes, dimension) mean direction of each node's own texts, zeros where it has none.
        logit_scale: Of the model.
    """
    model = {
        "format": _FORMAT,
        "kind": "taxonomy",
        "name": taxonomy.name,
        "unit": kmeans.UNIT,
        "dimension": texts.shape[1],
        "logit_scale": logit_scale,
        "nodes": [
            {"path": n.path, "name": n.name, "parent": n.parent, "texts": len(n.texts)}
            for n in taxonomy.nodes
        ],
    }
    file = io.BytesIO()
    np.save(file, np.rint(_with_inner(taxonomy, texts) * kmeans.UNIT).astype(np.int16))
    return {TREE: pretty_json(model), TEXTS: file.getvalue()}


def open_artifact(artifact: Mapping[str, bytes]) -> tuple[dict[str, Any], NDArray[np.int16]]:
    """Return the tree and the vectors of an artefact.

    Raises:
        DatasetError: It is of a newer format, or of another categorizer.
    """
    if missing := sorted({TREE, TEXTS} - set(artifact)):
        message = f"the artefact has no {missing[0]}; name one that a taxonomy has made"
        raise DatasetError(message)
    model: dict[str, Any] = json.loads(artifact[TREE])
    expected = (_FORMAT, "taxonomy", kmeans.UNIT)
    found = (model.get("format"), model.get("kind"), model.get("unit"))
    if found != expected:
        message = (
            f"the artefact's {TREE} has format, kind and unit {found}, expected {expected}: "
            "update Longtail or make it again"
        )
        raise DatasetError(message)
    return model, np.load(io.BytesIO(artifact[TEXTS]), allow_pickle=False)


def _with_inner(taxonomy: Taxonomy, texts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the vectors of all nodes, of inner ones from their children's."""
    vectors = texts.copy()
    children: dict[int, list[int]] = {}
    for number, node in enumerate(taxonomy.nodes):
        children.setdefault(node.parent, []).append(number)
    for number in reversed(range(len(vectors))):  # a parent stands before its children
        if number in children:
            below = mean_direction(vectors[children[number]])
            own = [texts[number]] if taxonomy.nodes[number].texts else []
            vectors[number] = mean_direction(np.stack([below, *own]))
    return vectors


def _share(probability: NDArray[np.int64]) -> NDArray[np.float32]:
    return (probability / fixed_point.ONE).astype(np.float32)
