"""Each measurement moves the way its name says, and nothing else moves it."""

import numpy as np
import pytest
from PIL import Image, ImageFilter
from skimage import data

from stages.inspect.features import Features, measure, to_luma


def of(image) -> Features:
    pixels = np.asarray(image.convert("RGB"))
    return measure(pixels, to_luma(pixels))


def astronaut():
    return Image.fromarray(data.astronaut()).resize((256, 256))


@pytest.mark.parametrize("level", [0, 100, 255])
def test_a_flat_picture_measures_nothing(level):
    """A plain area has no contrast, edge, colour or information."""
    found = of(Image.new("RGB", (256, 192), (level, level, level)))

    assert found.mean_luma == level
    assert (found.contrast, found.entropy, found.sharpness) == (0, 0, 0)
    assert (found.colorfulness, found.border_variance) == (0, 0)
    assert found.bits_per_pixel < 0.2
    assert (found.dark_share, found.bright_share) == (float(level == 0), float(level == 255))


def test_blur_lowers_sharpness_and_bits():
    """The more blur, the less of both."""
    blurred = [of(astronaut().filter(ImageFilter.GaussianBlur(r))) for r in (0, 1, 3, 8)]

    sharpness = [found.sharpness for found in blurred]
    bits = [found.bits_per_pixel for found in blurred]
    assert sharpness == sorted(sharpness, reverse=True)
    assert bits == sorted(bits, reverse=True)


def test_noise_raises_bits_above_any_picture():
    """Noise costs more bits than a photograph."""
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)

    assert of(Image.fromarray(noise)).bits_per_pixel > 2 * of(astronaut()).bits_per_pixel


def test_exposure_is_seen():
    """Brightening raises mean and clipped lights; darkening the opposite."""
    dark, plain, bright = (
        of(astronaut().point(lambda v, g=g: min(255, v * g))) for g in (0.1, 1, 3)
    )

    assert dark.mean_luma < plain.mean_luma < bright.mean_luma
    assert dark.dark_share > plain.dark_share > bright.dark_share
    assert dark.bright_share <= plain.bright_share < bright.bright_share


def test_contrast_and_entropy_of_two_levels():
    """Half black, half white: the widest contrast, and one bit."""
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, 32:] = 255
    found = of(Image.fromarray(pixels))

    assert found.contrast == 127.5
    assert found.entropy == 1.0
    assert found.border_variance == 127.5**2


def test_colourfulness_follows_the_formula():
    """The exact sums give what the paper's formula gives in floating point."""
    pixels = np.asarray(astronaut()).astype(float)
    red, green, blue = (pixels[..., c] for c in range(3))
    rg, yb = red - green, (red + green) / 2 - blue
    expected = np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())

    assert of(astronaut()).colorfulness == pytest.approx(expected, rel=1e-9)
    assert of(astronaut().convert("L")).colorfulness == 0


def test_a_plain_frame_is_seen():
    """A frame takes the border's variance away, whatever it encloses."""
    framed = astronaut()
    framed.paste((255, 255, 255), (0, 0, 256, 8))
    framed.paste((255, 255, 255), (0, 248, 256, 256))
    framed.paste((255, 255, 255), (0, 0, 8, 256))
    framed.paste((255, 255, 255), (248, 0, 256, 256))

    assert of(framed).border_variance == 0 < of(astronaut()).border_variance


@pytest.mark.parametrize("size", [(1, 1), (1, 256), (256, 1), (2, 2), (3, 5)])
def test_the_smallest_views_can_be_measured(size):
    """Every number is finite down to a single pixel."""
    found = of(astronaut().resize(size))

    assert np.isfinite(np.array(list(vars(found).values()))).all()
