"""The stage `embed`: rows in, unit vectors or reasons out."""

import io
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curation.errors import ConfigError
from curation.pipeline.stage import Execution, Shard, run_stage
from curation.pixels import PixelSpec
from curation.tables import column_digest, from_parquet, to_parquet
from schemas.embed import embed_table
from stages.embed.descriptor import DIMENSION
from stages.embed.embedder import EmbedConfig, Embedder
from stages.embed.embedders import DescriptorConfig
from stages.embed.stage import EmbedStage, unit_vector
from stages.inspect.stage import InspectConfig, InspectStage
from tests.stages.photographs import embed_stage, file_bytes, image_shard, photograph, vectors_of

NAMES = ("chelsea", "coffee", "page", "moon", "rocket")


def photograph_files():
    return [file_bytes(photograph(name)) for name in NAMES]


def test_vectors_have_length_one_in_half_precision():
    """Every vector's length lies within 0.0005 of 1, as the stage promises."""
    stage = embed_stage()
    shard = image_shard(photograph_files(), stage.pixels())

    result = run_stage(stage, shard)

    assert result.schema == embed_table(DIMENSION)
    lengths = np.linalg.norm(vectors_of(result).astype(np.float64), axis=1)
    assert np.abs(lengths - 1).max() < 5e-4


def test_rows_may_be_cut_and_shuffled_in_any_way():
    """A row's vector is the same to the bit alone, in any order, and on a second run."""
    stage = embed_stage()
    files = photograph_files()
    whole = vectors_of(run_stage(stage, image_shard(files, stage.pixels())))

    again = vectors_of(run_stage(embed_stage(), image_shard(files[::-1], stage.pixels())))[::-1]
    alone = [vectors_of(run_stage(stage, image_shard([f], stage.pixels())))[0] for f in files]

    assert whole.tobytes() == again.tobytes() == np.stack(alone).tobytes()


def test_a_row_without_pixels_keeps_its_reason():
    """Bad files and rows that killed a process are null with a reason; their neighbours are not."""
    stage = embed_stage()
    good, other = photograph_files()[:2]
    shard = image_shard([good, b"", good, b"no image", other], stage.pixels())

    result = run_stage(stage, shard, marks={2: "crashed: SIGSEGV"})

    assert result["vector"].is_valid().to_pylist() == [True, False, False, False, True]
    reasons = [error and error.split(":")[0] for error in result["error"].to_pylist()]
    assert reasons == [None, "empty", "crashed", "unsupported", None]


def test_an_empty_shard_is_an_empty_table():
    """No rows in, no rows out, with every column."""
    stage = embed_stage()

    result = run_stage(stage, image_shard([], stage.pixels()))

    assert result.equals(embed_table(DIMENSION).empty_table())


def test_vectors_survive_parquet():
    """The fixed-size lists of half floats come back as they were written, nulls included."""
    stage = embed_stage()
    result = run_stage(stage, image_shard([photograph_files()[0], b""], stage.pixels()))

    back = from_parquet(io.BytesIO(to_parquet(result)))

    assert back.schema.equals(result.schema, check_metadata=True)
    assert column_digest(back["vector"]) == column_digest(result["vector"])


def test_the_stage_travels_to_another_process():
    """A stage pickles before and after `setup`, and answers the same."""
    files = photograph_files()[:1]
    stage = embed_stage()
    expected = run_stage(stage, image_shard(files, stage.pixels()))

    copy = pickle.loads(pickle.dumps(stage))
    fresh = pickle.loads(pickle.dumps(EmbedStage(stage.config)))
    fresh.setup()

    assert run_stage(copy, image_shard(files, stage.pixels())).equals(expected)
    assert run_stage(fresh, image_shard(files, stage.pixels())).equals(expected)


def test_weights_change_vectors_and_have_a_limit():
    """Weights that leave nothing for shape are fine, weights beyond that are refused."""
    files = photograph_files()[:2]
    spec = PixelSpec()
    by_color = run_stage(embed_stage(texture_weight=0, color_weight=1), image_shard(files, spec))
    by_shape = run_stage(embed_stage(texture_weight=0, color_weight=0), image_shard(files, spec))

    assert not by_color.equals(by_shape)
    with pytest.raises(ConfigError, match=r"add up to 1\.2, expected at most 1"):
        embed_stage(texture_weight=0.6, color_weight=0.6)
    with pytest.raises(ConfigError, match="descriptor"):
        embed_stage(embedder="descripter")


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_a_vector_without_a_direction_is_none(bad):
    """Zeros, NaN and infinity cannot be scaled to length 1."""
    assert unit_vector(np.full(4, bad)) is None


def test_the_view_is_the_one_that_inspect_sees():
    """With defaults, the fused decode makes one view for both stages."""
    assert EmbedStage(DescriptorConfig()).pixels() == InspectStage(InspectConfig()).pixels()


class BrightnessEmbedder(Embedder):
    """Three images at a time: mean colour; an image without any is NaN."""

    version = 1
    config_type = EmbedConfig
    batch_size = 3

    def __init__(self, config: EmbedConfig) -> None:
        self.batches: list[int] = []

    def dimension(self, facts: Mapping[str, Any]) -> int:
        return 3

    def pixels(self, facts: Mapping[str, Any]) -> PixelSpec:
        return PixelSpec(size_px=8)

    def setup(
        self, facts: Mapping[str, Any], paths: Mapping[str, Path], execution: Execution
    ) -> None:
        pass

    def embed(self, images: Sequence[np.ndarray]) -> np.ndarray:
        self.batches.append(len(images))
        means = np.stack([image.mean(axis=(0, 1)) for image in images])
        means[means.sum(axis=1) == 0] = np.nan
        return means


class BrightnessStage(EmbedStage):
    """`embed` with an embedder that works in batches."""

    backends = {"brightness": BrightnessEmbedder}
    default_backend = "brightness"


def test_batches_skip_bad_rows_and_keep_the_order():
    """An embedder gets full batches of good images; what it cannot embed is `nonfinite`."""
    gray = [file_bytes(photograph("moon").point(lambda v, k=k: v * k // 5)) for k in range(5)]
    stage = BrightnessStage(EmbedConfig(embedder="brightness"))
    stage.setup()
    files = [gray[4], b"", gray[3], gray[2], b"", gray[0], gray[1]]

    result = run_stage(stage, image_shard(files, stage.pixels()))

    embedder = stage._embedder
    assert isinstance(embedder, BrightnessEmbedder)
    assert embedder.batches == [3, 2]
    codes = [error and error.split(":")[0] for error in result["error"].to_pylist()]
    assert codes == [None, "empty", None, None, "empty", "nonfinite", None]


def test_the_runner_hears_which_row_is_in_hand():
    """Progress is told for every row, so that a crash costs that row only."""
    stage = embed_stage()
    shard = image_shard(photograph_files()[:3], stage.pixels())
    heard: list[int] = []

    stage.process(Shard(shard.number, shard.table, shard._views, heard.append))

    assert heard == [0, 1, 2, -1]
    assert pa.types.is_fixed_size_list(stage.writes().field("vector").type)
