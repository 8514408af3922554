"""Near copies: what they show, and what they are saved as."""

from random import Random

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from curation.demo.edits import EDITS, FREQUENCY, KEEPS_ALPHA, WHOLE, cropped
from curation.demo.encode import decoded
from curation.demo.make import paint
from curation.demo.windows import area
from tests.curation.demo.plans import geometric


@pytest.fixture(scope="module")
def picture():
    return paint(geometric(), seed=1)


def opened(data, tmp_path):
    path = tmp_path / "edited"
    path.write_bytes(data)
    return Image.open(path)


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_says_truly_what_it_made(name, picture, tmp_path):
    """Format, upright size, and the part that is shown; another draw, other bytes."""
    edited = EDITS[name](picture, "JPEG", Random(4))

    with opened(edited.data, tmp_path) as file:
        assert file.format == edited.format
        assert ImageOps.exif_transpose(file).size == edited.size
    if name not in ("cropped", "combo"):
        assert edited.box == WHOLE
    assert edited.data == EDITS[name](picture, "JPEG", Random(4)).data


def test_an_exif_rotated_copy_is_the_original_once_upright(picture, tmp_path):
    """For each of the turns; without the tag it is another picture."""
    seen = set()
    for seed in range(12):
        edited = EDITS["exif_rotated"](picture, "JPEG", Random(seed))
        with opened(edited.data, tmp_path) as file:
            seen.add(file.getexif()[ExifTags.Base.Orientation])
            upright = np.asarray(ImageOps.exif_transpose(file).convert("L"), float)
        assert np.abs(upright - np.asarray(picture.convert("L"), float)).mean() < 6
    assert seen == {3, 6, 8}


def test_most_crops_keep_nine_tenths_and_some_do_not(picture):
    """The box is that of whole pixels, so the IoU is exact."""
    kept = []
    for seed in range(60):
        edited = cropped(picture, "PNG", Random(seed))
        left, top, right, bottom = edited.box
        across, down = (right - left) * picture.width, (bottom - top) * picture.height
        assert (round(across), round(down)) == edited.size
        kept.append(area(edited.box))

    assert 0.6 < np.mean(np.array(kept) >= 0.88) < 0.95
    assert 0.5 < min(kept) < 0.85


@pytest.mark.parametrize("name", KEEPS_ALPHA)
def test_edits_of_drawings_on_transparent_ground_keep_the_ground(name):
    """A flattened copy would have another ground, so it would be no copy."""
    drawing = Image.new("RGBA", (60, 60), (0, 0, 0, 0))
    drawing.paste((0, 0, 0, 255), (10, 10, 30, 40))

    for format in ("PNG", "WEBP"):
        edited = EDITS[name](drawing, format, Random(1))
        assert edited.format in ("PNG", "WEBP")
        assert decoded(edited.data).getchannel("A").getextrema() == (0, 255)


def test_frequencies_are_percent_of_the_edits_there_are():
    """A new edit gets a frequency."""
    assert set(FREQUENCY) == set(EDITS)
    assert sum(FREQUENCY.values()) == 100
