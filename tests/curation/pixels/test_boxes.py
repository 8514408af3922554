"""Views that are no squares: the aspect buckets of training."""

import io

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from skimage import data

from curation.pixels import PixelSpec, nearest_box, views
from curation.snapshot.config import ERNIE_IMAGE_BUCKETS
from curation.snapshot.materialize import nearest_buckets
from training.encoders.sizes import any_bucket_spec, bucket_spec, scaled_buckets

COFFEE = Image.fromarray(data.coffee())  # 600 x 400


def encoded(image, orientation=1, **options):
    """Encode a picture as PNG, with an EXIF orientation."""
    exif = Image.Exif()
    exif[274] = orientation
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=exif, **options)
    return buffer.getvalue()


def view(content, **spec):
    """Return the one view, which must be one."""
    (found,) = views(content, [PixelSpec(**spec)])
    assert not isinstance(found, str), found
    return found.pixels


@pytest.mark.parametrize(("width", "height"), [(96, 64), (48, 128), (128, 16), (640, 480)])
def test_a_box_is_covered_by_the_middle_of_the_image(width, height):
    """What is shown is the largest middle part of the box's proportions, as Pillow cuts it."""
    pixels = view(encoded(COFFEE), size_px=width, height_px=height, fit="cover")

    scale = min(600 / width, 400 / height)
    left, top = (600 - width * scale) / 2, (400 - height * scale) / 2
    box = (left, top, 600 - left, 400 - top)
    expected = COFFEE.resize((width, height), Image.Resampling.BICUBIC, box=box)
    assert pixels.shape == (height, width, 3)
    assert np.abs(pixels.astype(int) - np.asarray(expected)).mean() < 3  # halved before


def test_a_turned_image_is_upright_in_its_box():
    """A box of a file that says to be turned shows what the same box of the turned picture does."""
    turned = encoded(COFFEE.transpose(Image.Transpose.ROTATE_90), orientation=6)

    upright = view(encoded(COFFEE), size_px=150, height_px=100, fit="cover")
    found = view(turned, size_px=150, height_px=100, fit="cover")

    assert found.shape == (100, 150, 3)
    assert np.abs(found.astype(int) - upright).mean() < 1


def test_a_square_is_what_it_was():
    """A box of two equal edges is the square, and a square says nothing of a height."""
    content = encoded(COFFEE)
    square = PixelSpec(size_px=64, fit="cover")

    assert "height_px" not in square.model_dump(mode="json")
    assert np.array_equal(
        view(content, size_px=64, fit="cover"),
        view(content, size_px=64, height_px=64, fit="cover"),
    )


def test_squash_takes_the_whole_image():
    """A squashed box shows everything, in other proportions."""
    pixels = view(encoded(COFFEE), size_px=80, height_px=200, fit="squash")

    expected = COFFEE.resize((80, 200), Image.Resampling.BICUBIC)
    assert pixels.shape == (200, 80, 3)
    assert np.abs(pixels.astype(int) - np.asarray(expected)).mean() < 3


def test_only_boxes_have_a_height():
    """`inside` and `full` have no second edge, and say so."""
    with pytest.raises(ValidationError, match="inside has one edge"):
        PixelSpec(size_px=64, height_px=32)


SEVEN = any_bucket_spec(64, 8)
SIZES = [(w, h) for w in (40, 64, 96, 127, 200, 611) for h in (40, 64, 97, 128, 300, 640)]


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_of_several_boxes_the_nearest_in_proportions_is_shown(format, orientation):
    """To the bit the view that states that box alone, however the file says to be turned.

    JPEGs of this size are scaled in decoding, and turned files are chosen for as they stand up.
    """
    rng = np.random.default_rng(0)
    for width, height in (*SIZES[::5], (1100, 700), (700, 1300), (1090, 1030)):
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
        exif = Image.Exif()
        exif[274] = orientation
        buffer = io.BytesIO()
        image.save(buffer, format, exif=exif)
        (found,) = views(buffer.getvalue(), [SEVEN])
        assert not isinstance(found, str)
        seen = np.array([found.header.width]), np.array([found.header.height])
        bucket = scaled_buckets(64, 8)[int(nearest_buckets(*seen, ERNIE_IMAGE_BUCKETS)[0])]

        (alone,) = views(buffer.getvalue(), [bucket_spec(bucket)])

        assert not isinstance(alone, str)
        assert found.pixels.shape == (bucket[1], bucket[0], 3)
        assert np.array_equal(found.pixels, alone.pixels), (width, height)


def test_a_box_is_chosen_as_a_snapshot_chooses_a_bucket():
    """For every size, in the same arithmetic, ties included."""
    widths, heights = (np.array(edges) for edges in zip(*SIZES, strict=True))

    chosen = [nearest_box(ERNIE_IMAGE_BUCKETS, w, h) for w, h in SIZES]

    assert chosen == nearest_buckets(widths, heights, ERNIE_IMAGE_BUCKETS).tolist()
    assert len(set(chosen)) == 7


@pytest.mark.parametrize(
    "changes", [{"fit": "inside"}, {"size_px": 128}, {"height_px": 64}, {"boxes": ()}]
)
def test_boxes_that_make_no_sense_are_refused(changes):
    """They have both edges, of which the longest bounds what a view takes."""
    with pytest.raises(ValidationError, match="boxes: for cover and squash"):
        PixelSpec.model_validate({**SEVEN.model_dump(), **changes})
