"""`inspect` on whole rows: facts of the file, and reasons where there is no picture."""

import io

import pyarrow as pa
import pytest
from PIL import Image
from skimage import data

from curation.errors import ConfigError
from curation.pipeline.stage import Shard, run_stage
from curation.pixels import views
from schemas.columns import IDENTITY
from schemas.inspect import INSPECT
from stages.inspect.stage import InspectConfig, InspectStage


def encode(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def inspect(files, **config):
    parsed = InspectStage.parse(config, "stages.inspect")
    assert isinstance(parsed, InspectConfig)
    stage = InspectStage(parsed)
    stage.setup()
    spec = stage.pixels()
    identity = [
        pa.array([0] * len(files), pa.int32()),
        pa.array(range(len(files)), pa.int32()),
        pa.array([bytes([n]) * 16 for n in range(len(files))], pa.binary(16)),
    ]
    table = pa.Table.from_arrays(identity, schema=pa.schema(IDENTITY))
    return run_stage(stage, Shard(0, table, lambda n: views(files[n], [spec])[0]))


def test_facts_come_from_the_file():
    """Width and height are upright; the rest is as stored."""
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = encode(Image.fromarray(data.coffee()), "JPEG", exif=exif)
    drawing = encode(Image.fromarray(data.logo()), "PNG")

    first, second = inspect([photo, drawing]).to_pylist()

    assert (first["width"], first["height"], first["orientation"]) == (400, 600, 6)
    assert (first["format"], first["mode"], first["has_alpha"]) == ("JPEG", "RGB", False)
    assert (second["format"], second["mode"], second["has_alpha"]) == ("PNG", "RGBA", True)
    assert (second["num_frames"], second["bits_per_sample"]) == (1, 8)
    assert second["color_profile"] == "none"
    assert first["error"] is second["error"] is None


def test_a_bad_row_is_null_with_a_reason():
    """Every column but the error is null, and its neighbours are not touched."""
    good = encode(Image.fromarray(data.coffee()), "PNG")

    rows = inspect([good, b"", good[:-1000], good], max_pixels=240_000).to_pylist()

    assert [row["error"] for row in rows] == [
        None,
        "empty: the file has no bytes",
        "truncated: the PNG data ends too early",
        None,
    ]
    assert {name for name, value in rows[1].items() if value is not None} == {"error"}
    assert rows[0] == rows[3]
    assert all(rows[0][name] is not None for name in INSPECT.names if name != "error")


def test_max_pixels_is_configured():
    """One pixel too many is a bomb."""
    good = encode(Image.fromarray(data.coffee()), "PNG")

    assert inspect([good], max_pixels=239_999)["error"].to_pylist() == [
        "bomb: 600 x 400 pixels are more than max_pixels = 239999"
    ]


def test_both_hashers_measure_the_same():
    """The hasher changes the hashes and no measurement of a plain file."""
    files = [encode(Image.fromarray(data.coffee()), "PNG")]

    matrix, reference = (
        inspect(files).to_pylist()[0],
        inspect(files, hasher="imagehash").to_pylist()[0],
    )

    hashes = {"phash", "dhash"}
    assert {k: v for k, v in matrix.items() if k not in hashes} == {
        k: v for k, v in reference.items() if k not in hashes
    }
    assert (matrix["phash"] ^ reference["phash"]).bit_count() <= 6


def test_drawings_on_clear_ground_keep_their_own_hash():
    """Without a background every clip-art drawing would hash alike: all black."""
    drawings = []
    for box in ((10, 10, 60, 200), (100, 100, 240, 240), (5, 120, 250, 140)):
        image = Image.new("RGBA", (256, 256), (0, 0, 0, 0))
        image.paste((0, 0, 0, 255), box)
        drawings.append(encode(image, "PNG"))

    hashes = inspect(drawings)["phash"].to_pylist()

    assert len(set(hashes)) == 3
    assert 0 not in hashes


def test_an_unknown_hasher_is_refused():
    """The nearest name is offered."""
    with pytest.raises(ConfigError, match=r"did you mean matrix"):
        inspect([], hasher="matrx")
