"""The engines that `ocr` can read with, by name."""

import hashlib
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from curation.errors import ConfigError
from stages.ocr.lines import Line


class Engine(ABC):
    """Finds and reads lines of text.

    Attributes:
        version: Raised whenever the same picture may be read otherwise.
    """

    version: ClassVar[int]

    def __init__(self, size_px: int, min_score: float) -> None:
        """Keep the settings; nothing is loaded before `setup`.

        Args:
            size_px: Longer edge of the pictures, at most.
            min_score: Confidence below which a line is left out.
        """
        self.size_px = size_px
        self.min_score = min_score

    @abstractmethod
    def digests(self) -> Mapping[str, str]:
        """Return digests of weights, which enter the fingerprint; known without the weights."""

    @abstractmethod
    def check(self) -> None:
        """Refuse where the engine is not installed.

        Raises:
            ConfigError: Says how to get it.
        """

    @abstractmethod
    def setup(self) -> None:
        """Load what `read` needs."""

    @abstractmethod
    def read(self, pixels: NDArray[np.uint8]) -> list[Line]:
        """Return the lines in a picture, in any order; the same for the same picture.

        Args:
            pixels: (height, width, 3) sRGB.
        """


class RapidOcrEngine(Engine):
    """RapidOCR 3 with the small PP-OCRv6 models, which lie in its package: no download.

    It reads Chinese, Latin and Japanese letters, upright or turned by up to 45 degrees, and lines
    that run down. It does not look whether a picture stands on its head. The models run in one
    thread, each picture on its own, so a picture is read alike whatever else is in its shard.

    Source: Cui et al., PaddleOCR 3.0 (arXiv 2507.05595); weights by PaddlePaddle, Apache 2.0,
        converted to ONNX by RapidAI.
    """

    version = 2

    def __init__(self, size_px: int, min_score: float) -> None:
        super().__init__(size_px, min_score)
        self._reader: Any = None

    def digests(self) -> Mapping[str, str]:
        return MODELS

    def check(self) -> None:
        missing = [name for name in ("onnxruntime", "rapidocr") if _find(name) is None]
        if missing:
            message = (
                f"ocr: {' and '.join(missing)} not installed; "
                "`pip install 'longtail[ocr]'`, or take `ocr` out of the pipeline"
            )
            raise ConfigError(message)
        folder = _models()
        for name, expected in MODELS.items():
            path = folder / name
            found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "nothing"
            if found != expected:
                message = (
                    f"ocr: {path} is not the model of rapidocr 3.10.0 (SHA-256 {expected[:16]}..., "
                    f"found {found[:16]}); `pip install 'longtail[ocr]'` again"
                )
                raise ConfigError(message)

    def setup(self) -> None:
        self.check()
        from rapidocr import RapidOCR

        detector, recognizer = (str(_models() / name) for name in MODELS)
        self._reader = RapidOCR(
            params={
                "Global.log_level": "critical",
                "Global.use_cls": False,
                "Global.text_score": self.min_score,
                "Global.max_side_len": self.size_px,
                "Det.model_path": detector,
                # Never enlarge: reading takes twice as long, and finds the same in large pictures.
                "Det.limit_type": "max",
                "Det.limit_side_len": self.size_px,
                "Rec.model_path": recognizer,
                "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        )

    def read(self, pixels: NDArray[np.uint8]) -> list[Line]:
        found = self._reader(np.ascontiguousarray(pixels[:, :, ::-1]))  # BGR
        if found.boxes is None or found.txts is None:
            return []
        return [
            Line(str(text), float(score), np.asarray(quad, np.float64))
            for quad, text, score in zip(found.boxes, found.txts, found.scores, strict=True)
        ]


MODELS = {
    "PP-OCRv6_det_small.onnx": "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
    "PP-OCRv6_rec_small.onnx": "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
}
"""Detector and recognizer of rapidocr 3.10.0 -> SHA-256."""


def _find(package: str) -> Any:
    return importlib.util.find_spec(package)


def _models() -> Path:
    origin = _find("rapidocr").origin
    assert origin is not None
    return Path(origin).parent / "models"


ENGINES: dict[str, type[Engine]] = {"rapidocr": RapidOcrEngine}
"""Name in YAML -> class."""
