"""A trained head: from a vector to one of many leaves, in exact integers.

A head is a folder: `head.safetensors` holds the numbers, `head.json` says what they are. It is
trained in floats and kept in integers, as the centres of `kmeans` are: vectors in units of 1/16384,
weights in 16 bits, biases in the units of their sums. By Cauchy-Schwarz no partial sum of a product
of a row with a leaf passes 2^15 * 2^15 * sqrt(inputs), far below 2^53, so a float64 matrix product
makes no rounding error, whatever the BLAS, its threads and its blocks. So the leaf of a row is the
same on every machine and in every batch; only the softmax behind score and margin is in floats.

A head has one layer, or two with a rectifier between. What agreement, temperature and centres are
is told where they are made: `stages.categorize.build`.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.errors import ConfigError
from stages.categorize import kmeans
from stages.categorize.categorizer import Assignment, Leaf

DESCRIPTION = "head.json"
TENSORS = "head.safetensors"
FORMAT = 1

LARGEST = 32_767
"""Of 16 bits; what passes it between two layers is cut off."""

_BLOCK_ROWS = 256  # rows whose products with all leaves are held at once


@dataclass(frozen=True)
class Layer:
    """Products with integer weights.

    Attributes:
        weight: (outputs, inputs) int16.
        bias: (outputs,) in units of the products.
        unit: What 1 stands for in what comes out.
    """

    weight: NDArray[np.int16]
    bias: NDArray[np.int64]
    unit: float

    @classmethod
    def rounded(
        cls, weight: NDArray[np.floating[Any]], bias: NDArray[np.floating[Any]], input_unit: float
    ) -> "Layer":
        """Round a trained layer; `input_unit` is what 1 stands for in what goes in."""
        scale = LARGEST / max(float(np.abs(weight).max()), 1e-12)
        unit = input_unit / scale
        return cls(
            np.rint(weight.astype(np.float64) * scale).astype(np.int16),
            np.rint(bias.astype(np.float64) / unit).astype(np.int64),
            unit,
        )


@dataclass(frozen=True)
class Head:
    """Layers, and the leaves that the last one chooses among.

    Attributes:
        leaves: In the order of the last layer's outputs.
        layers: One, or two with a rectifier between.
        hidden_unit: What 1 stands for in what the second layer takes; it takes 32,767 at most.
        temperature: Logits are divided by it before the softmax.
        centers: (leaves, dimension) the leaves' unit vectors in units of 1/16384.
        facts: What else `head.json` says.
    """

    leaves: tuple[Leaf, ...]
    layers: tuple[Layer, ...]
    hidden_unit: float
    temperature: float
    centers: kmeans.Integers
    facts: Mapping[str, Any]

    @property
    def dimension(self) -> int:
        """Length of the vectors that it takes."""
        return int(self.layers[0].weight.shape[1])

    # Files -------------------------------------------------------------------------------------

    def to_files(self) -> dict[str, bytes]:
        """Return the head's files, the same bytes for the same head."""
        from safetensors.numpy import save

        tensors: dict[str, NDArray[Any]] = {"centers": self.centers}
        for number, layer in enumerate(self.layers):
            tensors[f"layer{number}.weight"] = layer.weight
            tensors[f"layer{number}.bias"] = layer.bias
        data = save(tensors)
        description = {
            **self.facts,
            "format": FORMAT,
            "dimension": self.dimension,
            "input_unit": kmeans.UNIT,
            "layer_units": [layer.unit for layer in self.layers],
            "hidden_unit": self.hidden_unit,
            "temperature": self.temperature,
            "leaves": [{"path": leaf.path, "name": leaf.name} for leaf in self.leaves],
            "tensors_sha256": hashlib.sha256(data).hexdigest(),
        }
        text = json.dumps(description, indent=1, allow_nan=False, ensure_ascii=False)
        return {TENSORS: data, DESCRIPTION: text.encode() + b"\n"}

    @classmethod
    def read(cls, folder: Path) -> "Head":
        """Read a head's folder.

        Raises:
            ConfigError: It has no head, a newer one, or files that do not belong together.
        """
        try:
            from safetensors import SafetensorError
            from safetensors.numpy import load
        except ImportError as error:
            message = "safetensors is not installed; `pip install 'longtail[clip]'`"
            raise ConfigError(message) from error
        description, data = _read_files(folder)
        try:
            tensors = load(data)
            units = description["layer_units"]
            layers = tuple(
                Layer(tensors[f"layer{n}.weight"], tensors[f"layer{n}.bias"], float(units[n]))
                for n in range(len(units))
            )
            head = cls(
                tuple(Leaf(leaf["path"], leaf["name"]) for leaf in description["leaves"]),
                layers,
                float(description["hidden_unit"]),
                float(description["temperature"]),
                tensors["centers"],
                description,
            )
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            message = f"{folder}: no whole head ({type(error).__name__}: {error}); build it again"
            raise ConfigError(message) from error
        head._check(folder)
        return head

    def _check(self, folder: Path) -> None:
        """Refuse shapes, types and units with which the arithmetic would be wrong."""
        count, dimension = len(self.leaves), int(self.facts.get("dimension", 0))
        widths = [dimension, *(len(layer.bias) for layer in self.layers)]
        texts = [text for leaf in self.leaves for text in (leaf.path, leaf.name)]
        good = (
            len(self.layers) in (1, 2)
            and all(isinstance(text, str) for text in texts)
            and len({leaf.path for leaf in self.leaves}) == count
            and count > 0
            and widths[-1] == count
            and self.centers.shape == (count, dimension)
            and self.centers.dtype == np.int16
            and all(
                layer.weight.shape == (widths[n + 1], widths[n])
                and layer.weight.dtype == np.int16
                and layer.bias.dtype == np.int64
                for n, layer in enumerate(self.layers)
            )
        )
        units = [self.hidden_unit, self.temperature, *(layer.unit for layer in self.layers)]
        if not good or not all(np.isfinite(unit) and unit > 0 for unit in units):
            message = (
                f"{folder}: {TENSORS} and {DESCRIPTION} do not fit each other: {count} leaves, "
                f"vectors of {dimension}, layers of {widths[1:]}; build the head again"
            )
            raise ConfigError(message)

    # Arithmetic --------------------------------------------------------------------------------

    def logits(self, vectors: kmeans.Integers) -> NDArray[np.float64]:
        """Return (rows, leaves) integers, in units of `layers[-1].unit`."""
        first, last = self.layers[0], self.layers[-1]
        sums = vectors.astype(np.float64) @ self._wide[0] + first.bias
        if first is last:
            return np.asarray(sums)
        rectified = np.rint(np.maximum(sums, 0) * (first.unit / self.hidden_unit))
        return np.asarray(np.minimum(rectified, LARGEST) @ self._wide[1] + last.bias)

    def assign(self, vectors: kmeans.Integers) -> Assignment:
        """Return for each row the leaf with the largest logit, the first among equals.

        `scores` are softmax probabilities at the head's temperature, `margins` those less the
        second largest; with a single leaf both are 1.
        """
        leaves = np.zeros(len(vectors), np.int32)
        products = np.zeros(len(vectors), np.int64)
        scores = np.zeros(len(vectors), np.float32)
        margins = np.zeros(len(vectors), np.float32)
        for start in range(0, len(vectors), _BLOCK_ROWS):
            block = slice(start, start + _BLOCK_ROWS)
            logits = self.logits(vectors[block])
            every = np.arange(len(logits))
            best = logits.argmax(axis=1)
            logits -= logits[every, best][:, np.newaxis]
            shares = np.exp(logits * (self.layers[-1].unit / self.temperature))
            total = shares.sum(axis=1)
            shares[every, best] = 0
            leaves[block] = best
            scores[block] = 1 / total
            margins[block] = (1 - shares.max(axis=1)) / total
            mine = self.centers[best].astype(np.int64)
            products[block] = np.einsum("rd,rd->r", mine, vectors[block].astype(np.int64))
        distances = kmeans.cosine_distances(vectors, self.centers, leaves, products)
        return Assignment(leaves, distances, scores, margins)

    @cached_property
    def _wide(self) -> tuple[NDArray[np.float64], ...]:
        return tuple(layer.weight.T.astype(np.float64) for layer in self.layers)


def _read_files(folder: Path) -> tuple[dict[str, Any], bytes]:
    try:
        description = json.loads((folder / DESCRIPTION).read_bytes())
        data = (folder / TENSORS).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        message = (
            f"{folder}: no head here; name the folder with {DESCRIPTION} and {TENSORS} that "
            "`longtail categories build` made"
        )
        raise ConfigError(message) from error
    except ValueError as error:
        message = f"{folder}/{DESCRIPTION}: not JSON; build the head again"
        raise ConfigError(message) from error
    if not isinstance(description, dict):
        message = f"{folder}/{DESCRIPTION}: no JSON object; build the head again"
        raise ConfigError(message)
    found = (description.get("format"), description.get("input_unit"))
    if found != (FORMAT, kmeans.UNIT):
        message = (
            f"{folder}/{DESCRIPTION}: format and unit are {found}, this version reads "
            f"{(FORMAT, kmeans.UNIT)}: update Longtail or build the head again"
        )
        raise ConfigError(message)
    if hashlib.sha256(data).hexdigest() != description.get("tensors_sha256"):
        message = f"{folder}: {TENSORS} is not the one that {DESCRIPTION} describes; copy both"
        raise ConfigError(message)
    return description, data
