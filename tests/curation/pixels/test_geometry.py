"""Halving, fitting, cutting and turning."""

import numpy as np
import pytest
from PIL import Image
from skimage import data

from curation.pixels import PixelSpec, fit
from curation.pixels.geometry import halve, num_halvings, turn_upright
from tests.curation.pixels.pictures import encode, show


@pytest.mark.parametrize(
    "shape",
    [(1, 1), (1, 2), (2, 1), (1, 9), (3, 3), (2, 5), (6, 4, 4), (7, 9, 4), (1, 5, 4), (8, 6, 3)],
)
def test_halving_is_exact(shape):
    """Each new pixel is the rounded mean of those that it stands for, at odd edges too."""
    samples = np.random.default_rng(3).integers(0, 256, shape, np.uint8)

    found = halve(samples)

    expected = np.empty_like(found)
    for row, column in np.ndindex(*found.shape[:2]):
        block = samples[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].astype(np.int64)
        count = block.shape[0] * block.shape[1]
        expected[row, column] = (block.sum(axis=(0, 1)) + count // 2) // count
    assert found.shape[:2] == ((shape[0] + 1) // 2, (shape[1] + 1) // 2)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("fit_", "size", "expected"),
    [
        ("inside", (1024, 300), 2),
        ("inside", (1023, 1023), 1),
        ("cover", (1024, 300), 0),
        ("cover", (2048, 1024), 2),
        ("crop", (1024, 2048), 1),
        ("crop", (1023, 2048), 0),
        ("squash", (2048, 1024), 2),
        ("full", (9000, 9000), 0),
        ("inside", (100, 100), 0),
    ],
)
def test_an_image_is_halved_while_it_still_covers_the_view(fit_, size, expected):
    """One halving more would leave too few pixels."""
    assert num_halvings(PixelSpec(size_px=256, fit=fit_), *size) == expected


@pytest.mark.parametrize("fit_", ["cover", "crop"])
@pytest.mark.parametrize("filter_", ["linear", "box", "bilinear", "bicubic", "lanczos"])
def test_cover_and_crop_show_the_middle(fit_, filter_):
    """The square is cut out of the middle of the longer edge, in every filter."""
    wide = np.zeros((300, 1200, 3), np.uint8)
    wide[:, 450:750] = 255

    view = show(encode(Image.fromarray(wide), "PNG"), [PixelSpec(fit=fit_, filter=filter_)])[0]

    assert view.pixels.shape == (256, 256, 3)
    assert view.pixels[:, 4:-4].min() == 255


@pytest.mark.parametrize("filter_", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC])
@pytest.mark.parametrize(
    "size", [(512, 512), (451, 300), (300, 451), (223, 97), (64, 65), (127, 111), (500, 63), (9, 7)]
)
def test_crop_is_what_scaling_and_then_cutting_gives(size, filter_):
    """As torchvision's Resize and CenterCrop do it, to one level of 255, enlarging too."""
    image = Image.fromarray(data.astronaut()).resize(size)
    spec = PixelSpec(size_px=64, fit="crop", filter=filter_.name.lower())

    view = show(encode(image, "PNG"), [spec])[0]

    width, height = (64 * edge // min(size) for edge in size)
    left, top = round((width - 64) / 2), round((height - 64) / 2)
    scaled = image.resize((width, height), filter_)
    expected = np.asarray(scaled.crop((left, top, left + 64, top + 64))).astype(int)
    if min(size) < 4 * 64:  # larger ones are halved first
        assert np.abs(view.pixels - expected).max() <= 1
    assert np.abs(view.pixels - expected).mean() < 1.5


@pytest.mark.parametrize("filter_", ["linear", "box", "bilinear", "bicubic", "lanczos"])
def test_shrinking_keeps_the_mean(filter_):
    """No filter darkens or shifts a picture."""
    image = Image.fromarray(data.astronaut())

    view = show(encode(image, "PNG"), [PixelSpec(size_px=90, filter=filter_)])[0]

    reference = np.asarray(image.resize((90, 90), Image.Resampling.BOX)).astype(int)
    assert abs(view.pixels.mean() - np.asarray(image).mean()) < 1.0
    assert np.abs(view.pixels - reference).mean() < 8.0


@pytest.mark.parametrize(("width", "height"), [(3000, 1), (1, 3000), (2999, 2), (1, 1)])
def test_the_thinnest_images_have_show(width, height):
    """A view has at least one pixel each way."""
    content = encode(Image.new("RGB", (width, height), (9, 90, 200)), "PNG")
    specs = [
        PixelSpec(size_px=64, fit=fit_, filter=filter_)
        for fit_ in ("inside", "cover", "crop", "squash")
        for filter_ in ("linear", "bicubic")
    ]

    for view in show(content, specs):
        assert min(view.pixels.shape) >= 1
        assert np.array_equal(np.unique(view.pixels.reshape(-1, 3), axis=0), [[9, 90, 200]])


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_undone(format, orientation):
    """All eight orientations come out upright, from every format that states them."""
    upright = Image.fromarray(data.astronaut()).resize((64, 32))
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = upright if undo is None else upright.transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if format == "WEBP" else {}
    content = encode(stored, format, exif=exif, **options)

    view, small = show(content, [PixelSpec(fit="full"), PixelSpec(size_px=16)])

    assert view.header.orientation == orientation
    assert (view.header.width, view.header.height) == (64, 32)
    limit = 12 if format == "JPEG" else 0
    assert np.abs(view.pixels.astype(int) - np.asarray(upright)).mean() <= limit
    assert small.pixels.shape == (8, 16, 3)


def test_turning_twice_by_a_mirror_changes_nothing():
    """Orientations 2, 3, 4, 5 and 7 are their own undoing."""
    pixels = np.random.default_rng(1).integers(0, 256, (5, 7, 3), np.uint8)

    for orientation in (2, 3, 4, 5, 7):
        assert np.array_equal(turn_upright(turn_upright(pixels, orientation), orientation), pixels)


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\xff\xff\xff\xff"])
def test_broken_exif_says_nothing(exif):
    """An image with unreadable EXIF is taken as it lies."""
    content = encode(Image.fromarray(data.astronaut()), "JPEG", exif=exif)

    assert show(content, [PixelSpec()])[0].header.orientation == 1


def test_fit_of_all_pixels_is_the_view():
    """A stage that sees every pixel can make the small view itself."""
    content = encode(Image.fromarray(data.astronaut()).crop((0, 0, 501, 333)), "PNG")
    spec = PixelSpec(size_px=100, filter="linear")

    full, small = show(content, [PixelSpec(fit="full"), spec])

    assert np.array_equal(fit(full.pixels, spec), small.pixels)
