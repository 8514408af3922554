"""The stage `ocr`: images in, the text in them out."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from curation.config import Config
from curation.pipeline.stage import Resources, Shard, Stage
from curation.pixels import PixelSpec
from schemas.error_codes import row_error
from schemas.ocr import OCR
from stages.ocr.engines import ENGINES, Engine
from stages.ocr.gate import letters_in_a_row
from stages.ocr.lines import Line, covered_share, in_reading_order


class GateConfig(Config):
    """When a picture is not read at all.

    Attributes:
        threshold: Letters, or what passes for them, that must stand in a row somewhere.
    """

    threshold: int = Field(default=6, ge=2, le=100)


class OcrConfig(Config):
    """How text is read.

    Attributes:
        engine: `rapidocr`.
        size_px: Longer edge of the picture that is read; smaller pictures are not enlarged. Twice
            the edge takes up to four times as long and reads letters of half the height.
        min_score: Confidence below which a line is left out.
        gate: Pictures without anything like text are not read; null to read all.
        max_pixels: Width times height above which a file is refused as a bomb.
    """

    engine: Literal["rapidocr"] = "rapidocr"
    size_px: int = Field(default=960, ge=64, le=4096)
    min_score: float = Field(default=0.5, ge=0, le=1)
    gate: GateConfig | None = GateConfig()
    max_pixels: int = Field(default=64_000_000, ge=1, lt=1 << 31)


class OcrStage(Stage[OcrConfig]):
    """Read the text in each image.

    It has a pool of its own: it takes a hundred times as long as the other CPU stages, which need
    not wait for it.
    """

    name = "ocr"
    config_type = OcrConfig
    backend_key = "engine"
    backends = ENGINES
    default_backend = "rapidocr"
    resources: ClassVar[Resources] = Resources(own_pool=True)

    def __init__(self, config: OcrConfig, artifact: Mapping[str, bytes] | None = None) -> None:
        super().__init__(config, artifact)
        self._engine = cast(Engine, self.backend(config.size_px, config.min_score))

    def reads(self) -> tuple[str, ...]:
        return ()

    def writes(self) -> pa.Schema:
        return OCR

    def pixels(self) -> PixelSpec:
        return PixelSpec(
            size_px=self.config.size_px,
            fit="inside",
            filter="bicubic",
            max_pixels=self.config.max_pixels,
        )

    def digests(self) -> Mapping[str, str]:
        return self._engine.digests()

    def check(self) -> None:
        self._engine.check()

    def setup(self) -> None:
        self._engine.setup()

    def process(self, shard: Shard) -> pa.Table:
        rows = [
            {"error": view} if isinstance(view, str) else self._read(view.pixels)
            for view in shard.views()
        ]
        return pa.Table.from_pylist(rows, schema=OCR)

    def _read(self, pixels: NDArray[np.uint8]) -> dict[str, Any]:
        gate = self.config.gate
        gated = gate is not None and not may_have_text(pixels, gate.threshold)
        lines = [] if gated else in_reading_order(self._engine.read(pixels))
        scores = [line.score for line in lines]
        if not np.isfinite(scores).all():
            return {"error": row_error("nonfinite", column="confidence")}
        height, width = pixels.shape[:2]
        return {
            "text": "\n".join(line.text for line in lines),
            "num_lines": len(lines),
            "confidence": sum(scores) / len(scores) if scores else None,
            "text_area": covered_share(lines, width, height),
            "boxes": [_box(line, width, height) for line in lines],
            "gated": gated,
        }


def may_have_text(pixels: NDArray[np.uint8], threshold: int) -> bool:
    """Say whether the gate lets a picture pass.

    Args:
        pixels: (height, width, 3) sRGB.
        threshold: Letters that must stand in a row.
    """
    import cv2

    luma = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)
    return letters_in_a_row(luma, threshold) >= threshold


def _box(line: Line, width: int, height: int) -> dict[str, Any]:
    shares = np.clip(line.quad / (width, height), 0.0, 1.0)
    return {"text": line.text, "score": line.score, "quad": shares.ravel().tolist()}
