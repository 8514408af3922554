"""Depths, palettes, transparency, profiles: every kind of file shows its right colours."""

import numpy as np
import pytest
from PIL import Image, ImageCms
from skimage import data

from curation.pixels import PixelSpec
from curation.pixels.color import to_channels
from tests.curation.pixels.pictures import encode, show

FULL = PixelSpec(fit="full")


def full(content, spec=FULL):
    return show(content, [spec])[0]


def astronaut():
    return Image.fromarray(data.astronaut()).crop((100, 0, 260, 120))


def wide_gamut_profile():
    """A profile like sRGB with red and blue exchanged: wrong in a way that nobody can overlook."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = profile.index(b"rXYZ"), profile.index(b"bXYZ")
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(profile)


@pytest.mark.parametrize("format", ["PNG", "BMP", "PPM", "TIFF"])
def test_lossless_files_show_their_pixels(format):
    """What was saved is what is seen."""
    assert np.array_equal(full(encode(astronaut(), format)).pixels, np.asarray(astronaut()))


def test_transparency_is_composited_on_the_background():
    """A transparent pixel shows the background, never the colour that hides below."""
    image = Image.new("RGBA", (32, 32), (200, 10, 10, 0))
    image.paste((0, 0, 255, 255), (8, 8, 24, 24))

    on_white, on_green = show(
        encode(image, "PNG"), [FULL, PixelSpec(fit="full", background=(0, 255, 0))]
    )

    assert on_white.header.has_alpha
    assert on_white.pixels[0, 0].tolist() == [255, 255, 255]
    assert on_green.pixels[0, 0].tolist() == [0, 255, 0]
    assert on_white.pixels[16, 16].tolist() == on_green.pixels[16, 16].tolist() == [0, 0, 255]


def test_hidden_colours_do_not_bleed_when_averaging():
    """Shrinking weighs colours by their opacity."""
    image = Image.new("RGBA", (512, 512), (255, 0, 0, 0))
    drawing = np.asarray(image).copy()
    drawing[:, ::2] = (0, 0, 0, 255)  # every second column black, the rest clear with hidden red

    view = full(encode(Image.fromarray(drawing), "PNG"), PixelSpec(size_px=64))

    assert abs(view.pixels.astype(int) - 127).max() <= 2
    assert np.ptp(view.pixels, axis=2).max() <= 1


@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_a_transparent_colour_counts_as_transparency(mode):
    """A PNG or GIF without alpha channel may still have a colour that is clear."""
    grey = Image.new("L", (20, 20), 40)
    grey.paste(90, (0, 0, 10, 20))
    image = grey.convert(mode)
    clear = image.getpixel((15, 10))

    view = full(encode(image, "PNG", transparency=clear))

    assert view.header.has_alpha
    assert view.pixels[10, 15].tolist() == [255, 255, 255]
    assert view.pixels[10, 5].tolist() == [90, 90, 90]


def test_grey_with_alpha():
    """LA files are composited too."""
    image = Image.merge("LA", (Image.new("L", (9, 9), 0), Image.new("L", (9, 9), 51)))

    assert np.unique(full(encode(image, "PNG")).pixels).tolist() == [204]


def test_sixteen_bits_keep_their_high_byte():
    """16-bit greyscale is shown by its high byte, with and without a clear value."""
    values = np.linspace(0, 65535, 256 * 4).astype(np.uint16).reshape(4, 256)
    image = Image.fromarray(values)

    view = full(encode(image, "PNG"))
    assert view.header.bits_per_sample == 16
    assert np.array_equal(view.pixels[..., 1], values >> 8)
    tiff = full(encode(image, "TIFF"))
    assert np.array_equal(tiff.pixels, view.pixels)
    assert tiff.header.bits_per_sample == 16


def test_float_samples_are_cut_to_the_unit_range():
    """NaN is black, above 1 is white, no value is stretched."""
    values = np.array([[0.0, 0.5, 1.0], [2.0, -1.0, np.nan]], np.float32)

    view = full(encode(Image.fromarray(values), "TIFF"))

    assert view.header.mode == "F"
    assert view.pixels[..., 0].tolist() == [[0, 128, 255], [255, 0, 0]]


def test_whole_numbers_count_as_sixteen_bits():
    """A PGM above 255 and a 32-bit TIFF are shown by the high byte of 16 bits."""
    pgm = b"P2 3 1 65535\n0 32768 65535\n"
    tiff = encode(Image.fromarray(np.array([[0, 32768, 70_000]], np.int32)), "TIFF")

    assert full(pgm).pixels[0, :, 0].tolist() == [0, 128, 255]
    assert full(tiff).pixels[0, :, 0].tolist() == [0, 128, 255]


def test_one_bit_becomes_black_and_white():
    """1-bit images average to grey like any other."""
    board = np.indices((128, 128)).sum(axis=0) % 2 == 0
    content = encode(Image.fromarray(board), "PNG")

    assert np.unique(full(content).pixels).tolist() == [0, 255]
    assert full(content).header.bits_per_sample == 1
    assert np.unique(full(content, PixelSpec(size_px=32)).pixels).tolist() == [128]


def test_cmyk_keeps_its_colours():
    """A CMYK JPEG, which stores its inks inverted, shows the picture and no negative."""
    ink = Image.new("CMYK", (64, 64), (0, 255, 255, 0))

    view = full(encode(ink, "JPEG", quality=95))

    assert view.header.mode == "CMYK"
    assert np.abs(view.pixels.astype(int) - [255, 0, 0]).max() <= 4


def test_lab_is_converted():
    """L*a*b* TIFFs are shown in sRGB."""
    lab = ImageCms.profileToProfile(
        astronaut(), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None

    view = full(encode(lab, "TIFF"))

    assert view.header.mode == "LAB"
    assert np.abs(view.pixels.astype(int) - np.asarray(astronaut())).mean() < 3


def test_a_profile_that_is_srgb_changes_nothing():
    """An image that says it is sRGB equals one that says nothing."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

    view = full(encode(astronaut(), "PNG", icc_profile=profile))

    assert view.header.color_profile == "srgb"
    assert np.array_equal(view.pixels, np.asarray(astronaut()))


def test_another_profile_is_applied_also_below_transparency():
    """A profile with red and blue exchanged turns red into blue, and alpha survives it."""
    red = Image.new("RGBA", (16, 16), (255, 0, 0, 255))
    red.paste((0, 0, 0, 0), (0, 0, 8, 16))

    plain = full(encode(red.convert("RGB"), "PNG", icc_profile=wide_gamut_profile()))
    clear = full(encode(red, "PNG", icc_profile=wide_gamut_profile()))

    assert plain.header.color_profile == clear.header.color_profile == "applied"
    assert plain.pixels[8, 12].tolist() == clear.pixels[8, 12].tolist() == [0, 0, 255]
    assert clear.pixels[8, 2].tolist() == [255, 255, 255]


@pytest.mark.parametrize("profile", [b"no profile at all", bytes(200)])
def test_a_broken_profile_is_ignored_and_recorded(profile):
    """An unusable profile does not cost the image."""
    view = full(encode(astronaut(), "PNG", icc_profile=profile))

    assert view.header.color_profile == "broken"
    assert np.array_equal(view.pixels, np.asarray(astronaut()))


def test_a_profile_for_other_channels_is_broken():
    """An RGB profile in a grey file says nothing about it."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

    view = full(encode(astronaut().convert("L"), "PNG", icc_profile=profile))

    assert view.header.color_profile == "broken"


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_picture_of_many_blocks_is_read_as_one_of_few(mode):
    """Pillow likes to spread large images over blocks; they have the same samples."""
    rows, columns = 40, 8
    large = np.tile(np.asarray(astronaut()), (rows, columns, 1))  # 4,800 x 1,280 x 4 > 16 MiB
    image = Image.fromarray(large).convert(mode)
    small, _ = to_channels(astronaut().convert(mode))

    samples, channels = to_channels(image)

    repeats = (rows, columns, 1)[: samples.ndim]
    depth = samples.shape[2] if samples.ndim == 3 else None
    assert channels == mode
    assert np.array_equal(samples, np.tile(small[..., :depth] if depth else small, repeats))


def test_a_large_picture_shows_its_pixels():
    """Above 16 MiB nothing changes."""
    large = Image.fromarray(np.tile(np.asarray(astronaut()), (40, 8, 1)))

    assert np.array_equal(full(encode(large, "BMP")).pixels, np.asarray(large))
