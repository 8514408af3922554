"""Both hashers read alike, and the fast one stays close to the reference."""

import importlib.util
import io
from pathlib import Path

import imagehash
import numpy as np
import pytest
from PIL import Image
from skimage import data

from curation.pixels import PixelSpec, View, views
from stages.inspect.features import to_luma
from stages.inspect.hashers import HASHERS, Hasher, ImagehashHasher, MatrixHasher

MAX_PIXELS = 64_000_000
FLAT = 0x8000000000000000


def package_picture(package, path):
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Image.open(Path(spec.origin).parent / path).convert("RGB")


def pictures():
    """Real pictures of photographs, textures and text, and parts of them."""
    whole = [
        package_picture("sklearn", "datasets/images/china.jpg"),
        package_picture("sklearn", "datasets/images/flower.jpg"),
        package_picture("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
        *(
            Image.fromarray(picture()).convert("RGB")
            for picture in (data.astronaut, data.camera, data.coffee, data.chelsea, data.page)
        ),
    ]
    draw = np.random.default_rng(11)
    for image in whole:
        yield image
        for _ in range(5):
            width, height = (int(draw.integers(n // 3, n)) for n in image.size)
            left = int(draw.integers(0, image.width - width))
            top = int(draw.integers(0, image.height - height))
            part = image.crop((left, top, left + width, top + height))
            factor = int(draw.integers(1, 4))
            yield part.resize((width * factor, height * factor), Image.Resampling.BICUBIC)


def jpeg(image):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def hashes(hasher: Hasher, content: bytes) -> tuple[int, int]:
    view = views(content, [hasher.pixels(MAX_PIXELS)])[0]
    assert isinstance(view, View)
    small = hasher.to_view(view.pixels, MAX_PIXELS)
    return hasher.hash(view.pixels, to_luma(small))


def flat(level):
    pixels = np.full((192, 256, 3), level, np.uint8)
    return MatrixHasher().hash(pixels, to_luma(pixels))


def test_the_matrix_hasher_is_close_to_imagehash():
    """Most hashes are equal, nearly all within 2 bits, and none more than 8 bits away."""
    apart: dict[str, list[int]] = {"phash": [], "dhash": []}
    for image in pictures():
        content = jpeg(image)
        stored = Image.open(io.BytesIO(content))
        phash, dhash = hashes(MatrixHasher(), content)
        apart["phash"].append((phash ^ int(str(imagehash.phash(stored)), 16)).bit_count())
        apart["dhash"].append((dhash ^ int(str(imagehash.dhash(stored)), 16)).bit_count())

    for distances in map(np.array, apart.values()):
        assert len(distances) == 48
        assert (distances == 0).mean() >= 0.5
        assert (distances <= 2).mean() >= 0.9
        assert distances.max() <= 8


def test_the_imagehash_hasher_is_imagehash():
    """Its hexadecimal digits are those that imagehash prints for the file."""
    content = jpeg(package_picture("sklearn", "datasets/images/flower.jpg"))
    stored = Image.open(io.BytesIO(content))

    phash, dhash = hashes(ImagehashHasher(), content)

    assert f"{phash:016x}" == str(imagehash.phash(stored))
    assert f"{dhash:016x}" == str(imagehash.dhash(stored))


@pytest.mark.parametrize("level", [1, 77, 128, 255])
def test_a_flat_picture_has_the_flat_hash(level):
    """Nothing but the mean is above the median; noise of rounding does not decide bits."""
    assert flat(level) == (FLAT, 0)


def test_black_has_no_bit_at_all():
    """Equal to the median is not above it."""
    assert flat(0) == (0, 0)


def test_dhash_counts_brighter_right_neighbours():
    """A picture that brightens to the right has every bit, its mirror image none."""
    ramp = np.tile(np.linspace(0, 255, 256).astype(np.uint8), (200, 1))
    hasher = MatrixHasher()
    pixels = np.dstack([ramp] * 3)

    assert hasher.hash(pixels, ramp)[1] == 0xFFFFFFFFFFFFFFFF
    assert hasher.hash(pixels[:, ::-1], ramp[:, ::-1])[1] == 0


def test_the_first_bit_is_the_highest():
    """The top rows of a picture are the high bits, the bottom rows the low ones."""
    half = np.zeros((160, 256), np.uint8)
    half[80:] = np.linspace(0, 255, 256).astype(np.uint8)

    dhash = MatrixHasher().hash(np.dstack([half] * 3), half)[1]
    assert dhash >> 56 == 0
    assert dhash & 0xFF == 0xFF


@pytest.mark.parametrize("shape", [(1, 1), (1, 256), (256, 1), (5, 9), (31, 33)])
def test_the_smallest_views_have_hashes(shape):
    """Views below 32 pixels are enlarged for the hash."""
    luma = np.random.default_rng(2).integers(0, 256, shape, np.uint8)

    for value in MatrixHasher().hash(np.dstack([luma] * 3), luma):
        assert 0 <= value < 1 << 64


def test_only_imagehash_needs_every_pixel():
    """The default looks at the small view that the measurements share."""
    specs = {name: hasher().pixels(MAX_PIXELS) for name, hasher in HASHERS.items()}

    assert specs["imagehash"].fit == "full"
    assert specs["matrix"] == PixelSpec(size_px=256, filter="linear", max_pixels=MAX_PIXELS)
