"""What every registered stage promises; a new one joins by its line in the registry.

Each stage runs as YAML's `{}` configures it, on real small images, with its inputs made by the
stages that own them.
"""

import functools
import importlib
import io
import itertools
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from PIL import Image
from skimage import data

from curation.pipeline.stage import (
    ERROR,
    FittedStage,
    RelationStage,
    Shard,
    Stage,
    is_fitted,
    run_stage,
)
from curation.pixels import views
from schemas.columns import IDENTITY
from schemas.error_codes import ERROR_CODES, error_code
from schemas.images import IMAGES
from stages.registry import STAGES

ROW_LOCAL = sorted(name for name, stage in STAGES.items() if not issubclass(stage, RelationStage))
HEAVY = ("cv2", "faiss", "onnxruntime", "ray", "scipy", "torch", "transformers", "vllm")
BROKEN = (3, 8)
"""Rows whose image is no image."""


@functools.cache
def image_files() -> tuple[bytes, ...]:
    """Make files of several formats, sizes and kinds, two of them broken."""
    pictures = [data.astronaut(), data.coffee(), data.chelsea(), data.camera(), data.logo()]
    files: list[bytes] = []
    for number in range(14):
        picture = Image.fromarray(pictures[number % len(pictures)])
        left, top = 7 * number, 5 * number
        picture = picture.crop((left, top, left + 180 + number, top + 150 + 3 * number))
        format = ("PNG", "JPEG", "WEBP")[number % 3]
        buffer = io.BytesIO()
        picture.convert("RGB" if format == "JPEG" else picture.mode).save(buffer, format)
        files.append(buffer.getvalue())
    files[BROKEN[0]] = b""
    files[BROKEN[1]] = files[BROKEN[1]][: len(files[BROKEN[1]]) // 2]
    return tuple(files)


def make(name: str, artifact: Mapping[str, bytes] | None = None) -> Stage[Any]:
    """Make a stage as `name: {}` in YAML does, without setting it up."""
    return STAGES[name](STAGES[name].parse({}, f"stages.{name}"), artifact)


@functools.cache
def ready(name: str) -> Stage[Any]:
    """Make a stage, fit it if it needs that, and set it up."""
    stage = make(name)
    if is_fitted(stage):
        assert isinstance(stage, FittedStage)
        sample = pa.table({column: input_column(column) for column in stage.fit_reads()})
        needed = [column for column in stage.fit_reads() if column not in stage.fit_optional()]
        valid = functools.reduce(pc.and_, [sample[column].is_valid() for column in needed])
        stage = make(name, dict(stage.fit(sample.filter(valid))))
    stage.setup()
    return stage


@functools.cache
def input_column(logical: str) -> pa.ChunkedArray:
    """Return a column that some stage reads, as its owner writes it."""
    owner, _, column = logical.partition(".")
    if owner != "images":
        return whole(owner)[column]
    kind = IMAGES.field(column).type
    files = image_files()
    if column == "image_bytes":
        return pa.chunked_array([pa.array(files, kind)])
    if column == "num_bytes":
        return pa.chunked_array([pa.array([len(file) for file in files], kind)])
    return pa.chunked_array([pa.nulls(len(files), kind)])


def shard_of(stage: Stage[Any], rows: Sequence[int]) -> Shard:
    """Make a shard that has the given rows, in the given order."""
    files = image_files()
    identity = [
        pa.array([5] * len(files), pa.int32()),
        pa.array(range(len(files)), pa.int32()),
        pa.array([bytes(15) + bytes([row]) for row in range(len(files))], pa.binary(16)),
    ]
    table = pa.Table.from_arrays(identity, schema=pa.schema(IDENTITY))
    for logical in stage.reads():
        table = table.append_column(logical, input_column(logical))
    spec = stage.pixels()
    if spec is None:
        return Shard(5, table.take(pa.array(rows, pa.int64())))
    shown = functools.cache(lambda position: views(files[rows[position]], [spec])[0])
    return Shard(5, table.take(pa.array(rows, pa.int64())), shown)


def run(name: str, rows: Sequence[int]) -> pa.Table:
    stage = ready(name)
    return run_stage(stage, shard_of(stage, rows))


@functools.cache
def whole(name: str) -> pa.Table:
    return run(name, range(len(image_files())))


@pytest.mark.parametrize("name", ROW_LOCAL)
def test_an_empty_shard_gives_an_empty_table(name):
    """No rows in, no rows out, with the right columns."""
    result = run(name, [])

    assert len(result) == 0
    assert result.schema.equals(ready(name).writes())


@pytest.mark.parametrize("name", ROW_LOCAL)
def test_rows_keep_their_order(name):
    """Rows in another order come out in that order."""
    order = np.random.default_rng(0).permutation(len(image_files())).tolist()

    assert run(name, order).equals(whole(name).take(pa.array(order)))


@pytest.mark.parametrize("name", ROW_LOCAL)
def test_twice_gives_the_same(name):
    """A second run, by a second object, repeats the first to the last bit."""
    first = whole(name)
    ready.cache_clear()

    assert run(name, range(len(first))).equals(first)


@pytest.mark.parametrize("name", ROW_LOCAL)
def test_slices_give_what_the_whole_gives(name):
    """How a shard is cut changes nothing."""
    rows = range(len(image_files()))
    for cuts in ((1, 2, 9), (7,), (4, 8, 12)):
        edges = [0, *cuts, len(rows)]
        parts = [run(name, rows[a:b]) for a, b in itertools.pairwise(edges)]
        assert pa.concat_tables(parts).combine_chunks().equals(whole(name).combine_chunks())


@pytest.mark.parametrize("name", ROW_LOCAL)
def test_good_rows_have_values_and_broken_ones_a_reason(name):
    """A row has an error of the vocabulary or a value, and some rows are good."""
    result = whole(name)
    errors = result[ERROR].to_pylist()
    others = [c for c in result.column_names if c != ERROR]

    assert None in errors
    for row, error in enumerate(errors):
        values = [result[column][row].as_py() for column in others]
        if error is None:
            assert any(value is not None for value in values)
        else:
            assert error_code(error) in ERROR_CODES
            assert all(value is None for value in values)
    if ready(name).pixels() is not None:
        assert all(errors[row] is not None for row in BROKEN)


@pytest.mark.parametrize("name", STAGES)
def test_stages_pickle_before_they_are_set_up(name):
    """What a runner sends to its workers arrives there equal."""
    stage = make(name)

    config = pickle.loads(pickle.dumps(stage.config))
    copy = pickle.loads(pickle.dumps(stage))

    assert config == stage.config == copy.config
    assert copy.writes().equals(stage.writes(), check_metadata=True)


@pytest.mark.parametrize("name", STAGES)
def test_configurations_survive_yaml(name):
    """A resolved configuration is one that the stage accepts, and means the same."""
    stage = make(name)

    assert STAGES[name].parse(stage.config.model_dump(mode="json"), name) == stage.config


@pytest.mark.parametrize("name", STAGES)
def test_stages_are_documented(name):
    """Module, class, configuration and backends say what they are; so does every column."""
    stage = make(name)

    assert stage.name == name
    assert importlib.import_module(type(stage).__module__).__doc__
    documented = [type(stage), type(stage.config), *type(stage).backends.values()]
    assert [item for item in documented if not item.__dict__.get("__doc__")] == []
    for field in stage.writes():
        assert len(field.metadata[b"doc"]) > 10, field.name
        assert int(field.metadata[b"version"]) >= 1, field.name


@pytest.mark.parametrize("name", STAGES)
def test_backends_have_versions(name):
    """A backend's version enters the fingerprint, so each has one, and the default exists."""
    stage_type = STAGES[name]

    assert all(str(backend.version) for backend in stage_type.backends.values())
    assert (stage_type.backend_key is None) == (not stage_type.backends)
    assert stage_type.default_backend is None or stage_type.default_backend in stage_type.backends


@pytest.mark.parametrize("name", ROW_LOCAL)
def test_stages_read_columns_that_exist(name):
    """Every column read is owned by ingest or by a registered row-local stage."""
    for logical in make(name).reads():
        owner, _, column = logical.partition(".")
        schema = IMAGES if owner == "images" else make(owner).writes()
        assert column in schema.names, logical
        assert owner == "images" or owner in ROW_LOCAL, logical


def test_the_registry_loads_nothing_heavy():
    """Importing the registry is cheap: heavy packages wait for `setup` or their first use."""
    code = f"import sys, stages.registry; print([m for m in {HEAVY!r} if m in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
