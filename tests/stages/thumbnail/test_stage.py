"""The stage `thumbnail`: small, upright, in sRGB, and nothing else in the file."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from curation.errors import ConfigError
from curation.pipeline.stage import run_stage
from schemas.thumbnail import THUMBNAIL
from stages.thumbnail.stage import ThumbnailConfig, ThumbnailStage
from tests.stages.photographs import file_bytes, image_shard, photograph


def make(**config):
    parsed = ThumbnailStage.parse(config, "stages.thumbnail")
    assert isinstance(parsed, ThumbnailConfig)
    return ThumbnailStage(parsed)


def run(files, **config):
    stage = make(**config)
    return run_stage(stage, image_shard(files, stage.pixels()))


def opened(row):
    return Image.open(io.BytesIO(row["image"]))


def test_the_longer_side_gets_the_size_asked_for():
    """A wide and a tall picture are made small, a small one keeps its size."""
    wide = photograph("coffee").resize((400, 100))
    files = [file_bytes(p) for p in (wide, wide.rotate(90, expand=True), wide.resize((60, 40)))]

    rows = run(files, size_px=200).to_pylist()

    assert [(row["width"], row["height"]) for row in rows] == [(200, 50), (50, 200), (60, 40)]
    assert [opened(row).size for row in rows] == [(200, 50), (50, 200), (60, 40)]


@pytest.mark.parametrize("format", ["jpeg", "webp"])
def test_nothing_of_the_file_but_its_pixels_is_kept(format):
    """EXIF, comment and profile are gone; turned pictures stand upright."""
    picture = photograph("chelsea").resize((300, 200))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a secret place"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    sink = io.BytesIO()
    picture.save(sink, "JPEG", exif=exif, icc_profile=profile, comment=b"a secret name")

    (row,) = run([sink.getvalue()], format=format).to_pylist()

    image = opened(row)
    assert (image.format, image.mode) == (format.upper(), "RGB")
    assert image.size == (row["width"], row["height"]) == (171, 256)
    assert {"exif", "icc_profile", "xmp", "comment"} & set(image.info) == set()
    assert b"secret" not in row["image"]


@pytest.mark.parametrize("format", ["jpeg", "webp"])
def test_the_picture_is_the_picture(format):
    """The thumbnail looks like the view that it was made from, and twice like itself."""
    files = [file_bytes(photograph("astronaut"))]

    first, again = (run(files, format=format, size_px=128) for _ in range(2))

    view = image_shard(files, make(size_px=128).pixels())
    (shown,) = view.views()
    found = np.asarray(opened(first.to_pylist()[0])).astype(int)
    assert np.abs(found - shown.pixels).mean() < 6
    assert first.equals(again)


def test_higher_quality_costs_bytes():
    """`quality` reaches the encoder."""
    files = [file_bytes(photograph("astronaut"))]

    sizes = [len(run(files, quality=q).to_pylist()[0]["image"]) for q in (20, 90)]

    assert sizes[0] * 2 < sizes[1]


def test_what_cannot_be_decoded_says_why():
    """A broken file has no thumbnail, its neighbours have."""
    good = file_bytes(photograph("coins"))

    rows = run([b"", good, good[:500]])

    assert rows.schema.equals(THUMBNAIL, check_metadata=True)
    assert [error and error.split(":")[0] for error in rows["error"].to_pylist()] == [
        "empty",
        None,
        "truncated",
    ]
    assert [image is None for image in rows["image"].to_pylist()] == [True, False, True]


def test_wrong_settings_are_refused():
    """An unknown format and a size without sense are named."""
    with pytest.raises(ConfigError, match="unknown format 'png'"):
        make(format="png")
    with pytest.raises(ConfigError, match="size_px"):
        make(size_px=1)
