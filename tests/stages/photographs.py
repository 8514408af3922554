"""Photographs from installed packages, edited copies of them, and shards for `embed`."""

import importlib.util
import io
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image, ImageEnhance

from curation.pipeline.stage import Shard
from curation.pixels import views
from schemas.columns import IDENTITY
from stages.embed.embedder import EmbedConfig
from stages.embed.stage import EmbedStage

_SKIMAGE = (
    "astronaut brick camera chelsea coffee coins grass gravel moon motorcycle_left page text ihc"
)
FILES = {
    **{name: ("skimage", f"data/{name}.png") for name in _SKIMAGE.split()},
    "galaxies": ("skimage", "data/hubble_deep_field.jpg"),
    "retina": ("skimage", "data/retina.jpg"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "pagoda": ("sklearn", "datasets/images/china.jpg"),
    "dahlia": ("sklearn", "datasets/images/flower.jpg"),
    "hopper": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
}


def original(name):
    """Return the file of a photograph as it was installed."""
    package, path = FILES[name]
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return (Path(spec.origin).parent / path).read_bytes()


@lru_cache(maxsize=len(FILES))
def photograph(name):
    """Return a photograph, at most 400 pixels either way, in RGB and without a colour profile."""
    image = Image.open(io.BytesIO(original(name))).convert("RGB")
    image.thumbnail((400, 400))
    image.info.clear()
    return image


def file_bytes(image, quality=95):
    """Encode an image as JPEG."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def edited_copies(image):
    """Return files of an image as it is passed around: name of the edit -> bytes."""
    width, height = image.size
    inner = (width // 20, height // 20, width - width // 20, height - height // 20)
    return {
        "jpeg": file_bytes(image, quality=40),
        "half": file_bytes(image.resize((width // 2, height // 2))),
        "cropped": file_bytes(image.crop(inner), quality=85),
        "brighter": file_bytes(ImageEnhance.Brightness(image).enhance(1.15)),
        "paler": file_bytes(ImageEnhance.Color(image).enhance(0.7)),
        "harder": file_bytes(ImageEnhance.Contrast(image).enhance(1.2)),
    }


def image_shard(files, spec):
    """Return a shard of the images in `files`, decoded as `spec` asks."""
    count = len(files)
    table = pa.table(
        [
            pa.array([3] * count, pa.int32()),
            pa.array(range(count), pa.int32()),
            pa.array([number.to_bytes(16, "big") for number in range(count)], pa.binary(16)),
        ],
        schema=pa.schema(IDENTITY),
    )
    return Shard(3, table, lambda position: views(files[position], [spec])[0])


def embed_stage(**config):
    """Return a stage `embed` that is set up."""
    parsed = EmbedStage.parse(config, "stages.embed")
    assert isinstance(parsed, EmbedConfig)
    stage = EmbedStage(parsed)
    stage.setup()
    return stage


def vectors_of(table):
    """Return the vectors of a table of `embed` without errors, (rows, dimension)."""
    assert table["error"].null_count == len(table)
    return np.array(table["vector"].to_pylist(), np.float16)
