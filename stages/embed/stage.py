"""The stage `embed`: images in, unit vectors out."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.pipeline.stage import Shard, Stage
from curation.pixels import PixelSpec
from schemas.embed import embed_table
from schemas.error_codes import row_error
from stages.embed.embedders import EMBEDDERS, EmbedConfig, Embedder


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
        return embed_table(self._embedder.dimension)

    def pixels(self) -> PixelSpec:
        return self._embedder.pixels()

    def digests(self) -> Mapping[str, str]:
        return self._embedder.digests()

    def setup(self) -> None:
        self._embedder.setup()

    def process(self, shard: Shard) -> pa.Table:
        vectors = np.zeros((len(shard), self._embedder.dimension), np.float16)
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
