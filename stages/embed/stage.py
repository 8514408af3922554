"""The stage `embed`: images in, unit vectors out."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.errors import ConfigError
from curation.pipeline.stage import Shard, Stage
from curation.pixels import PixelSpec
from curation.weights import local_weights
from schemas.embed import embed_table
from schemas.error_codes import row_error
from stages.embed.embedder import EmbedConfig, Embedder
from stages.embed.embedders import EMBEDDERS


class EmbedStage(Stage[EmbedConfig]):
    """One vector an image, of length 1 and in half precision.

    The length is made 1 before rounding; rounding moves a number by at most 1/2048 of itself, so
    the stored length lies within 0.0005 of 1.
    """

    name = "embed"
    config_type = EmbedConfig
    backend_key = "embedder"
    backends = EMBEDDERS
    default_backend = "descriptor"

    def __init__(self, config: EmbedConfig, artifact: Mapping[str, bytes] | None = None) -> None:
        super().__init__(config, artifact)
        self._embedder = cast(Embedder, self.backend(config))

    def reads(self) -> tuple[str, ...]:
        return ()

    def writes(self) -> pa.Schema:
        return embed_table(self._embedder.dimension(self.facts))

    def pixels(self) -> PixelSpec:
        return self._embedder.pixels(self.facts)

    def digests(self) -> Mapping[str, str]:
        return self._embedder.digests(self.facts)

    def weights(self) -> Mapping[str, str]:
        return self._embedder.weights()

    def learn(self) -> Mapping[str, Any]:
        facts = super().learn()
        paths = {
            role: local_weights(reference, facts["weights"][role])
            for role, reference in self.weights().items()
        }
        return {**facts, **self._embedder.learn(paths)}

    def check(self) -> None:
        self._embedder.check(self.execution)

    def setup(self) -> None:
        paths = {role: self.weights_path(role) for role in self.weights()}
        self._embedder.setup(self.facts, paths, self.execution)

    @property
    def reads_text(self) -> bool:
        """Whether `embed_text` gives vectors that can be compared with those of images."""
        return self._embedder.reads_text

    def embed_text(self, text: str) -> NDArray[np.float16]:
        """Return the vector of a text, as `vector` has those of images; after `setup`.

        Raises:
            ConfigError: The embedder reads no text, or this text has no vector.
        """
        unit = unit_vector(self._embedder.embed_text(text))
        if unit is None:
            message = f"the model gives {text!r} no finite vector; try other words"
            raise ConfigError(message)
        return unit

    def process(self, shard: Shard) -> pa.Table:
        vectors = np.zeros((len(shard), self._embedder.dimension(self.facts)), np.float16)
        errors: list[str | None] = [None] * len(shard)
        waiting: list[int] = []
        images: list[NDArray[np.uint8]] = []

        def embed_waiting() -> None:
            if not waiting:
                return
            found = self._embedder.embed(images)
            for position, vector in zip(waiting, found, strict=True):
                unit = unit_vector(vector)
                if unit is None:
                    errors[position] = row_error("nonfinite", column="vector")
                else:
                    vectors[position] = unit
            waiting.clear()
            images.clear()

        for position, view in enumerate(shard.views()):
            if isinstance(view, str):
                errors[position] = view
                continue
            waiting.append(position)
            images.append(view.pixels)
            if len(waiting) == self._embedder.batch_size:
                embed_waiting()
        embed_waiting()
        return _table(self.writes(), vectors, errors)


def unit_vector(vector: NDArray[np.floating[Any]]) -> NDArray[np.float16] | None:
    """Scale to length 1 and round to half precision; null for zeros, NaN and infinity."""
    exact: NDArray[np.float64] = vector.astype(np.float64)
    length = float(np.sqrt(np.square(exact).sum()))
    if not np.isfinite(length) or length == 0:
        return None
    unit: NDArray[np.float16] = (exact / length).astype(np.float16)
    return unit


def _table(schema: pa.Schema, vectors: NDArray[np.float16], errors: list[str | None]) -> pa.Table:
    kind = schema.field("vector").type
    missing = pa.array([error is not None for error in errors], pa.bool_())
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), type=kind, mask=missing)
    return pa.Table.from_arrays([column, pa.array(errors, pa.string())], schema=schema)
