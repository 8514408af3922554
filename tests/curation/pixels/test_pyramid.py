"""`views`: the same bytes and spec give the same view, and every bad file a reason."""

import itertools

import numpy as np
import pytest
from PIL import Image
from skimage import data

from curation.pixels import PixelSpec, View, views
from tests.curation.pixels.pictures import encode, show

SMALL = PixelSpec(size_px=64, filter="linear")
SPECS = (
    SMALL,
    PixelSpec(size_px=224, fit="cover"),
    PixelSpec(size_px=96, fit="squash", filter="bilinear", background=(0, 0, 0)),
    PixelSpec(size_px=900, filter="lanczos"),
    PixelSpec(fit="full"),
    PixelSpec(size_px=100, max_pixels=10_000),
    PixelSpec(size_px=50, fit="crop", filter="bicubic"),
)


def astronaut():
    return Image.fromarray(data.astronaut()).crop((60, 0, 361, 203))


def large():
    return Image.fromarray(data.astronaut()).resize((1203, 901), Image.Resampling.BICUBIC)


FILES = {
    "jpeg": encode(astronaut(), "JPEG"),
    "scaled jpeg": encode(large(), "JPEG", quality=80),
    "scaled progressive jpeg": encode(large(), "JPEG", quality=80, progressive=True),
    "rotated jpeg": encode(
        astronaut(),
        "JPEG",
        exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0",
    ),
    "cmyk jpeg": encode(astronaut().convert("CMYK"), "JPEG"),
    "grey png": encode(astronaut().convert("L"), "PNG"),
    "alpha png": encode(Image.fromarray(data.logo()), "PNG"),
    "palette png": encode(astronaut().convert("P"), "PNG"),
    "webp": encode(astronaut(), "WEBP"),
    "animated gif": encode(
        astronaut(), "GIF", save_all=True, append_images=[astronaut().rotate(90)]
    ),
    "bmp": encode(astronaut(), "BMP"),
    "tiff": encode(astronaut(), "TIFF", compression="tiff_lzw"),
    "ppm": encode(astronaut(), "PPM"),
    "avif": encode(astronaut(), "AVIF"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_view_is_the_same_alone_and_among_others(name):
    """Fusing stages shares the decoding and changes no byte and no error."""
    alone = [views(FILES[name], [spec])[0] for spec in SPECS]
    for order in (SPECS, SPECS[::-1], SPECS[2:] + SPECS[:2]):
        together = dict(zip(order, views(FILES[name], order), strict=True))
        for spec, expected in zip(SPECS, alone, strict=True):
            found = together[spec]
            if isinstance(expected, str):
                assert found == expected
            else:
                assert isinstance(found, View)
                assert found.header == expected.header
                assert np.array_equal(found.pixels, expected.pixels)
    assert sum(isinstance(view, View) for view in alone) >= 5


def test_every_pair_of_specs_shares_without_effect():
    """No pair of specs changes each other's view of a JPEG that is scaled in decoding."""
    content = FILES["scaled jpeg"]
    alone = {spec: show(content, [spec])[0] for spec in SPECS[:5]}

    for pair in itertools.permutations(SPECS[:5], 2):
        for spec, view in zip(pair, show(content, pair), strict=True):
            assert np.array_equal(view.pixels, alone[spec].pixels)


def test_equal_specs_share_one_view_that_nobody_can_change():
    """Stages with the same spec get the same read-only array."""
    first, second = show(FILES["jpeg"], [SMALL, PixelSpec(size_px=64, filter="linear")])

    assert first is second
    assert not first.pixels.flags.writeable


@pytest.mark.parametrize("name", FILES)
def test_views_have_the_size_that_was_asked_for(name):
    """Inside keeps the aspect ratio, cover and squash give squares, full gives everything."""
    inside, cover, squash, _, full = show(FILES[name], SPECS[:5])

    header = full.header
    assert full.pixels.shape == (header.height, header.width, 3)
    assert max(inside.pixels.shape[:2]) == 64
    assert abs(inside.pixels.shape[1] / inside.pixels.shape[0] - header.width / header.height) < 0.1
    assert cover.pixels.shape == (224, 224, 3)
    assert squash.pixels.shape == (96, 96, 3)
    assert {view.pixels.dtype for view in (inside, cover, squash, full)} == {np.dtype(np.uint8)}


def test_an_image_that_fits_is_not_enlarged():
    """`inside` leaves a small image as it is."""
    image = astronaut().resize((40, 30))
    view = show(encode(image, "PNG"), [SMALL])[0]

    assert np.array_equal(view.pixels, np.asarray(image))


def test_scaled_decoding_looks_like_full_decoding():
    """Decoding a JPEG at half its size moves a view by less than the JPEG itself does."""
    content = encode(large(), "JPEG", quality=95)
    scaled = show(content, [PixelSpec(size_px=300)])[0]
    whole = show(encode(large(), "PNG"), [PixelSpec(size_px=300)])[0]

    difference = np.abs(scaled.pixels.astype(int) - whole.pixels)
    assert difference.mean() < 2.0


@pytest.mark.parametrize("progressive", [False, True])
def test_scaled_decoding_finds_every_truncation(progressive):
    """A JPEG cut anywhere is refused by the scaled decoding and by the full one alike."""
    content = encode(large(), "JPEG", quality=80, progressive=progressive)
    cuts = [*range(700, len(content), len(content) // 12), *range(len(content) - 6, len(content))]

    for cut in cuts:
        assert (
            views(content[:cut], [SMALL, PixelSpec(fit="full")])
            == ["truncated: the JPEG data ends too early"] * 2
        )
    assert isinstance(views(content, [SMALL])[0], View)


@pytest.mark.parametrize(
    ("name", "lossless"),
    [(name, name not in {"avif", "tiff"}) for name in FILES if name != "animated gif"],
)
def test_a_file_cut_short_is_refused(name, lossless):
    """Half a file is never taken for a whole one, whatever the format."""
    content = FILES[name]

    for share in (0.4, 0.7, 0.95):
        error = views(content[: int(len(content) * share)], [SMALL])[0]
        assert isinstance(error, str)
        assert error.split(":")[0] in ({"truncated"} if lossless else {"truncated", "undecodable"})


def test_bytes_after_the_end_do_not_matter():
    """Trailing garbage is accepted and changes nothing."""
    content = FILES["jpeg"]

    clean, dirty = (show(c, [SMALL])[0] for c in (content, content + b"\0garbage" * 50))
    assert np.array_equal(clean.pixels, dirty.pixels)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "empty: the file has no bytes"),
        (b"<html>404</html>", "unsupported: the first bytes are of no allowed image format"),
        (
            b"%!PS-Adobe-3.0 EPSF-3.0\n",
            "unsupported: the first bytes are of no allowed image format",
        ),
        (b"\xff\xd8\xff\xe0", "undecodable: the JPEG data cannot be decoded"),
        (b"\x89PNG\r\n\x1a\n" + bytes(30) + b"IEND", "undecodable: the PNG data cannot be decoded"),
    ],
)
def test_what_is_no_image_gets_a_reason(content, error):
    """Every refusal is worded by us, with a code of the vocabulary."""
    assert views(content, [SMALL, SPECS[1]]) == [error, error]


def test_damaged_files_never_raise():
    """Random damage gives a view or a reason, and never an exception."""
    draw = np.random.default_rng(7)
    codes = set()
    for content in FILES.values():
        if len(content) > 300_000:
            continue
        for _ in range(12):
            damaged = bytearray(content)
            for place in draw.integers(0, min(len(content), 600), 6):
                damaged[place] = draw.integers(0, 256)
            found = views(bytes(damaged), [PixelSpec(size_px=64, max_pixels=1_000_000)])[0]
            codes.add(found.split(":")[0] if isinstance(found, str) else "view")
    assert {"view", "undecodable", "unsupported"} <= codes
