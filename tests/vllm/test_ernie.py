"""ERNIE-Image-Aes through a real vLLM gives the scores of transformers."""

import io
from typing import cast

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from skimage import data

from curation.pipeline.stage import Execution, Shard, run_stage
from curation.pixels import views
from schemas.columns import IDENTITY
from stages.aesthetic.scorer import AestheticConfig
from stages.aesthetic.stage import AestheticStage
from tests.fakes.tiny_internvl import make_internvl

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

SERVER = {"enforce_eager": True, "cpu_cache_gib": 1, "start_timeout_s": 400}


def scores(folder, engine, files, python):
    """Score files by one of the engines."""
    value = {
        "scorer": "ernie_image_aes",
        "weights": str(folder),
        "precision": "fp32",
        "engine": engine,
        "python": str(python),
        "server": SERVER,
    }
    stage = AestheticStage(cast(AestheticConfig, AestheticStage.parse(value, "stages.aesthetic")))
    stage.facts = stage.learn()
    stage.execution = Execution("cpu", 4)
    stage.check()
    stage.setup()
    spec = stage.pixels()
    assert spec is not None
    arrays = [
        pa.array([0] * len(files), pa.int32()),
        pa.array(range(len(files)), pa.int32()),
        pa.array([n.to_bytes(16) for n in range(len(files))], pa.binary(16)),
    ]
    table = pa.Table.from_arrays(arrays, schema=pa.schema(IDENTITY))
    found = run_stage(stage, Shard(0, table, lambda n: views(files[n], [spec])[0]))
    assert found["error"].null_count == len(files), found["error"].to_pylist()
    return found["score"].to_pylist()


def test_vllm_and_transformers_agree(vllm_python, tmp_path, monkeypatch):
    """Within a tenth of a point, on weights that tell the pictures apart."""
    monkeypatch.setenv("LONGTAIL_CACHE", str(tmp_path / "cache"))
    folder = make_internvl(tmp_path / "released", seed=3)
    files = []
    for picture in (data.astronaut(), data.coffee(), data.chelsea(), data.rocket(), data.logo()):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG")
        files.append(buffer.getvalue())

    expected = scores(folder, "transformers", files, vllm_python)
    found = scores(folder, "vllm", files, vllm_python)

    assert np.ptp(expected) > 2
    assert found == pytest.approx(expected, abs=0.1)
