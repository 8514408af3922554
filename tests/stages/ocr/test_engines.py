"""The engine: it is refused in a sentence where it is not installed, and reads what is written."""

import sys

import numpy as np
import pytest

from curation.errors import ConfigError
from stages.ocr.engines import MODELS, RapidOcrEngine
from tests.stages.ocr.written import written


def test_a_missing_package_is_refused_in_a_sentence(monkeypatch):
    """The sentence names the extra; digests are known all the same, to read what was written."""
    for package in ("onnxruntime", "rapidocr"):
        monkeypatch.setitem(sys.modules, package, None)
    engine = RapidOcrEngine(960, 0.5)

    with pytest.raises(
        ConfigError, match=r"onnxruntime and rapidocr.*`pip install 'longtail\[ocr\]'`"
    ):
        engine.check()
    assert set(engine.digests()) == set(MODELS)


def test_other_models_are_refused(monkeypatch, tmp_path):
    """What was fingerprinted is what reads: a changed model file is told, not used."""
    (tmp_path / "rapidocr" / "models").mkdir(parents=True)
    (tmp_path / "rapidocr" / "__init__.py").touch()
    for name in MODELS:
        (tmp_path / "rapidocr" / "models" / name).write_bytes(b"another model")
    monkeypatch.delitem(sys.modules, "rapidocr", raising=False)
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ConfigError, match=r"PP-OCRv6_det_small\.onnx is not the model"):
        RapidOcrEngine(960, 0.5).setup()


def test_lines_come_with_their_corners():
    """Two lines are found where they were written, from the left upper corner on."""
    engine = RapidOcrEngine(960, 0.5)
    engine.setup()

    lines = sorted(
        engine.read(np.asarray(written(["Long tail", "of images"]))), key=lambda x: x.top
    )

    assert [line.text for line in lines] == ["Long tail", "of images"]
    for number, line in enumerate(lines):
        assert line.score > 0.9
        assert np.abs(line.quad[0] - (24, 20 + 56 * number)).max() < 16
        assert line.quad[1, 0] > line.quad[0, 0]
        assert line.quad[3, 1] > line.quad[0, 1]
