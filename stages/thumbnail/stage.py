"""The stage `thumbnail`: images in, small encoded pictures out."""

from collections.abc import Mapping
from typing import Any, Literal, cast

import pyarrow as pa
from pydantic import Field

from curation.config import Config
from curation.pipeline.stage import Shard, Stage
from curation.pixels import PixelSpec, View
from schemas.thumbnail import THUMBNAIL
from stages.thumbnail.encoders import ENCODERS, Encoder


class ThumbnailConfig(Config):
    """How thumbnails are made.

    Attributes:
        format: `webp`, or `jpeg` for readers that do not know it.
        size_px: The longer side; a smaller picture keeps its size.
        quality: Of the encoder.
        max_pixels: Width times height above which a file is refused as a bomb.
    """

    format: Literal["jpeg", "webp"] = "webp"
    size_px: int = Field(default=256, ge=16, le=2048)
    quality: int = Field(default=75, ge=1, le=95)
    max_pixels: int = Field(default=64_000_000, ge=1, lt=1 << 31)


class ThumbnailStage(Stage[ThumbnailConfig]):
    """Write a small copy of each picture beside the metadata.

    A gallery of a million images then reads a few kilobytes each instead of the originals, which
    may lie elsewhere or be hostile: what is here was decoded in a child process and encoded anew.
    """

    name = "thumbnail"
    config_type = ThumbnailConfig
    backend_key = "format"
    backends = ENCODERS
    default_backend = "webp"

    def __init__(
        self, config: ThumbnailConfig, artifact: Mapping[str, bytes] | None = None
    ) -> None:
        super().__init__(config, artifact)
        self._encoder = cast(Encoder, self.backend())

    def reads(self) -> tuple[str, ...]:
        return ()

    def writes(self) -> pa.Schema:
        return THUMBNAIL

    def pixels(self) -> PixelSpec:
        return PixelSpec(
            size_px=self.config.size_px,
            fit="inside",
            filter="bicubic",
            max_pixels=self.config.max_pixels,
        )

    def process(self, shard: Shard) -> pa.Table:
        rows = [
            {"error": view} if isinstance(view, str) else self._encode(view)
            for view in shard.views()
        ]
        return pa.Table.from_pylist(rows, schema=THUMBNAIL)

    def _encode(self, view: View) -> dict[str, Any]:
        height, width = view.pixels.shape[:2]
        image = self._encoder.encode(view.pixels, self.config.quality)
        return {"image": image, "width": width, "height": height}
