"""`clip_head`: a small regression head on image embeddings, such as LAION's aesthetic predictor."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from curation.errors import ConfigError
from curation.pipeline.stage import Stage
from curation.weights import WeightsReference
from stages.aesthetic.scorer import AestheticConfig, ColumnScorer, Numbers

_MODEL = "head"
_ROWS = 256
"""Rows of a product: a fixed number, since BLAS may sum in another order for another one."""

_KEY = re.compile(r"(?:(.*?)(\d+)\.|(.*\.))?(weight|bias)")


class ClipHeadConfig(AestheticConfig):
    """A head that somebody trained on embeddings, and those of the same embedder.

    Attributes:
        scorer: `clip_head`.
        weights: A file, .safetensors, or .pth with nothing but tensors: linear layers in order, the
            last with one output. LAION's `sac+logos+ava1-l14-linearMSE.pth` and
            `sa_0_4_vit_l_14_linear.pth` are of this form; both want the vectors of OpenAI's
            ViT-L-14, which open_clip calls `ViT-L-14-quickgelu`.
        scale: What the head's output is multiplied with. LAION's heads answer about 1 to 10.
        offset: What is added then; the sum is cut to 0..100.
    """

    scorer: Literal["clip_head"] = "clip_head"
    weights: WeightsReference
    scale: float = Field(default=10.0, gt=0)
    offset: float = 0.0


@dataclass(frozen=True)
class Head:
    """Linear layers, one after the other, with nothing between them.

    Attributes:
        layers: (outputs, inputs) weight and (outputs,) bias of each.
    """

    layers: tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]

    @property
    def dimension(self) -> int:
        """Length of the vectors that it takes."""
        return int(self.layers[0][0].shape[1])

    def __call__(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return one number for each vector."""
        values = vectors
        for weight, bias in self.layers:
            values = values @ weight.T + bias
        scores: NDArray[np.float64] = values[:, 0]
        return scores


class ClipHeadScorer(ColumnScorer):
    """A head on the vectors of `embed`, which cost nothing more.

    LAION's is an MLP without activations between its layers, on vectors of length 1. It learnt from
    ratings of photographs and early AI images and over-scores AI images, anime and snapshots; as
    the first scorer of a cascade it is a good choice. A head fits one embedder only: one for
    another of the same length gives numbers without meaning, and nothing here can see that.

    Vectors are stored in half precision. That moves a head's answer by at most 2^-11 of the length
    of its gradient, which is the product of its layers.

    Source: Schuhmann, improved-aesthetic-predictor, `MLP` in train_predictor.py (dropout is none
        at inference) and `normalized`; LAION-AI/aesthetic-predictor for the linear heads. We scale
        the result to 0..100.
    """

    version: ClassVar[str] = "1"
    config_type: ClassVar[type[AestheticConfig]] = ClipHeadConfig
    reads: ClassVar[tuple[str, ...]] = ("embed.vector",)

    def __init__(self, config: ClipHeadConfig) -> None:
        self._config = config
        self._head: Head | None = None

    def weights(self) -> Mapping[str, str]:
        return {_MODEL: self._config.weights}

    def check(self, stage: Stage[Any]) -> None:
        path = stage.weights_path(_MODEL)
        head = load_head(path)
        vector = stage.upstream["embed"].writes().field("vector").type
        if vector.list_size != head.dimension:
            message = (
                f"{path}: takes vectors of {head.dimension} numbers, and embed, as configured, "
                f"writes {vector.list_size}; name the head that was trained on this embedder, or "
                "the embed instance that it was trained on under `inputs`"
            )
            raise ConfigError(message)

    def setup(self, stage: Stage[Any]) -> None:
        self._head = load_head(stage.weights_path(_MODEL))

    def score(self, table: pa.Table) -> Numbers:
        assert self._head is not None, "set up before"
        vectors = _matrix(table["embed.vector"], self._head.dimension)
        # Rounded to half precision, they are not quite of length 1 any more.
        vectors /= np.sqrt(np.square(vectors).sum(axis=1, keepdims=True))
        scores = np.zeros(len(vectors))
        batch = np.zeros((_ROWS, self._head.dimension))
        for begin in range(0, len(vectors), _ROWS):
            part = vectors[begin : begin + _ROWS]
            batch[: len(part)] = part
            scores[begin : begin + len(part)] = self._head(batch)[: len(part)]
        points = scores * self._config.scale + self._config.offset
        return np.asarray(np.clip(points, 0.0, 100.0), np.float64)


def _matrix(column: pa.ChunkedArray, dimension: int) -> NDArray[np.float64]:
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    values: NDArray[np.float64] = np.asarray(flat, np.float64)
    return values.reshape(-1, dimension)


def load_head(path: Path) -> Head:
    """Read a head.

    Raises:
        ConfigError: It is of another kind, holds other things than linear layers that fit onto each
            other, or a package is missing that reads it.
    """
    tensors = _read(path)
    found: dict[int, dict[str, NDArray[np.float64]]] = {}
    for key, tensor in tensors.items():
        match = _KEY.fullmatch(key)
        if match is None or tensor.ndim != (2 if match[4] == "weight" else 1):
            message = (
                f"{path}: has a tensor {key!r} of {tensor.ndim} dimensions; expected the weights "
                "and biases of linear layers, such as layers.0.weight"
            )
            raise ConfigError(message)
        number, name = int(match[2] or 0), match[4]
        if name in found.setdefault(number, {}):
            message = f"{path}: has two tensors for the {name} of layer {number}; expected one head"
            raise ConfigError(message)
        found[number][name] = tensor
    layers = []
    width: int | None = None
    for number in sorted(found):
        weight = found[number].get("weight")
        if weight is None or (width is not None and weight.shape[1] != width):
            message = (
                f"{path}: its layer {number} does not fit onto the one before it; expected linear "
                "layers in the order of their numbers"
            )
            raise ConfigError(message)
        width = weight.shape[0]
        bias = found[number].get("bias", np.zeros(width))
        if len(bias) != width:
            message = f"{path}: its layer {number} has {width} outputs and {len(bias)} biases"
            raise ConfigError(message)
        layers.append((weight, bias))
    if width != 1:
        message = f"{path}: its last layer has {width or 0} outputs; expected one, the score"
        raise ConfigError(message)
    return Head(tuple(layers))


def _read(path: Path) -> dict[str, NDArray[np.float64]]:
    if path.suffix == ".safetensors":
        try:
            from safetensors import SafetensorError
            from safetensors.numpy import load_file
        except ImportError as error:
            message = f"{path}: safetensors is not installed; `pip install safetensors`"
            raise ConfigError(message) from error
        try:
            loaded: dict[str, Any] = load_file(path)
        except (SafetensorError, OSError, KeyError) as error:
            message = f"{path}: is no safetensors file of floating-point numbers"
            raise ConfigError(message) from error
        return {key: np.asarray(tensor, np.float64) for key, tensor in loaded.items()}
    if path.suffix in (".pth", ".pt"):
        return _read_torch(path)
    message = f"{path}: expected a file that ends in .safetensors, .pth or .pt"
    raise ConfigError(message)


def _read_torch(path: Path) -> dict[str, NDArray[np.float64]]:
    try:
        import torch
    except ImportError as error:
        message = (
            f"{path}: to read it takes torch, which is not installed; "
            "`pip install 'longtail[clip]'`, or convert it to .safetensors, which needs none"
        )
        raise ConfigError(message) from error
    import pickle

    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError) as error:
        message = (
            f"{path}: holds other things than tensors, or is no file of torch; nothing was run"
        )
        raise ConfigError(message) from error
    if not isinstance(loaded, dict) or not all(
        isinstance(t, torch.Tensor) for t in loaded.values()
    ):
        message = f"{path}: expected a state dict, key -> tensor"
        raise ConfigError(message)
    return {str(key): tensor.to(torch.float64).numpy() for key, tensor in loaded.items()}
