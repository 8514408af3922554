"""The stage `inspect`: header facts, hashes and measurements, from one decoding."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, cast

import pyarrow as pa
from pydantic import Field

from curation.config import Config
from curation.pipeline.stage import Shard, Stage
from curation.pixels import PixelSpec, View
from schemas.inspect import INSPECT
from stages.inspect.features import measure, to_luma
from stages.inspect.hashers import HASHERS, Hasher

_FACTS = (
    "width",
    "height",
    "format",
    "mode",
    "orientation",
    "num_frames",
    "has_alpha",
    "bits_per_sample",
    "color_profile",
)


class InspectConfig(Config):
    """How images are inspected.

    Attributes:
        hasher: `matrix`, fast, or `imagehash`, the reference.
        max_pixels: Width times height above which a file is refused as a bomb.
    """

    hasher: Literal["imagehash", "matrix"] = "matrix"
    max_pixels: int = Field(default=64_000_000, ge=1, lt=1 << 31)


class InspectStage(Stage[InspectConfig]):
    """Say what each file is and what its picture measures; judge nothing.

    Nothing here drops an image: a snapshot's predicates do, over these columns.
    """

    name = "inspect"
    config_type = InspectConfig
    backend_key = "hasher"
    backends = HASHERS
    default_backend = "matrix"

    def __init__(self, config: InspectConfig, artifact: Mapping[str, bytes] | None = None) -> None:
        super().__init__(config, artifact)
        self._hasher = cast(Hasher, self.backend())

    def reads(self) -> tuple[str, ...]:
        return ()

    def writes(self) -> pa.Schema:
        return INSPECT

    def pixels(self) -> PixelSpec:
        return self._hasher.pixels(self.config.max_pixels)

    def process(self, shard: Shard) -> pa.Table:
        rows = [
            {"error": view} if isinstance(view, str) else self._inspect(view)
            for view in shard.views()
        ]
        return pa.Table.from_pylist(rows, schema=INSPECT)

    def _inspect(self, view: View) -> dict[str, Any]:
        small = self._hasher.to_view(view.pixels, self.config.max_pixels)
        luma = to_luma(small)
        phash, dhash = self._hasher.hash(view.pixels, luma)
        values: dict[str, Any] = {name: getattr(view.header, name) for name in _FACTS}
        values |= {"phash": phash, "dhash": dhash}
        values |= dataclasses.asdict(measure(small, luma))
        return values
