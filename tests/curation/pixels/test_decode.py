"""Refusing before allocating, and leaving Pillow as it was found."""

import struct
import subprocess
import sys
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin
from skimage import data

from curation.pixels import PixelSpec, View, views
from curation.pixels.decode import LARGE_PIXELS, alone_if_large
from tests.curation.pixels.pictures import encode

SMALL = PixelSpec(size_px=64)


def png_chunk(kind, content):
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png(width, height, *chunks):
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + png_chunk(b"IEND", b"")


def gif(width, height, frame_width, frame_height):
    """A GIF whose frame asks to be disposed of, for which Pillow allocates when it opens."""
    control = b"!\xf9\x04\x08\0\0\0\0"
    frame = b"," + struct.pack("<HHHHB", 0, 0, frame_width, frame_height, 0) + b"\x02\x02D\x01\0;"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0) + control + frame


def webp(width, height):
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunk = b"VP8X" + struct.pack("<I", 10) + bytes(4) + canvas
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def tiff(width, height):
    entries = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, 8),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8),
        (277, 3, 1),
        (278, 4, height),
        (279, 4, 10),
    ]
    body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + bytes(4)


BOMBS = {
    "png": png(60_000, 60_000, png_chunk(b"IDAT", zlib.compress(bytes(1000)))),
    "gif": gif(60_000, 60_000, 60_000, 60_000),
    "webp": webp(16_000, 16_000),
    "tiff": tiff(60_000, 60_000),
    "bmp": b"BM"
    + struct.pack("<IIIIiiHHIIiiII", 100, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0),
    "ppm": b"P6 60000 60000 255\n" + bytes(100),
    "jpeg": encode(Image.new("L", (16, 16)), "JPEG").replace(
        b"\xff\xc0\0\x0b\x08\0\x10\0\x10", b"\xff\xc0\0\x0b\x08\xea\x60\xea\x60"
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_without_decoding(name):
    """The header is enough: nothing of the claimed size is allocated, and nobody warns."""
    tracemalloc.start()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        error = views(BOMBS[name], [SMALL])[0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert isinstance(error, str)
    assert error.startswith("bomb: ")
    assert error.endswith("pixels are more than max_pixels = 64000000")
    assert peak < 5_000_000


def test_the_limit_belongs_to_the_spec():
    """The same file is a bomb for one spec and a picture for another."""
    content = encode(Image.fromarray(data.astronaut()), "PNG")

    strict, exact = views(
        content, [PixelSpec(max_pixels=512 * 512 - 1), PixelSpec(max_pixels=512 * 512)]
    )
    assert strict == "bomb: 512 x 512 pixels are more than max_pixels = 262143"
    assert isinstance(exact, View)


def test_a_gif_frame_larger_than_its_screen_is_refused():
    """A frame cannot smuggle in what the screen size hides."""
    error = views(gif(10, 10, 60_000, 60_000), [SMALL])[0]

    assert isinstance(error, str)
    assert error.split(":")[0] in {"bomb", "undecodable"}


def test_a_gif_of_size_zero_is_refused():
    """An empty screen is no picture."""
    assert views(gif(0, 0, 0, 0), [SMALL])[0] == "undecodable: the GIF data cannot be decoded"


def test_text_that_inflates_is_refused():
    """A compressed PNG comment of 64 MB is not inflated."""
    text = png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(64 << 20), 9))
    pixels = png_chunk(b"IDAT", zlib.compress(bytes(2)))

    tracemalloc.start()
    error = views(png(1, 1, text, pixels), [SMALL])[0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert error == "undecodable: the PNG data cannot be decoded"
    assert peak < 16 << 20


def test_a_profile_that_inflates_does_no_harm():
    """A compressed ICC profile of 64 MB is refused like any other broken PNG."""
    profile = png_chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(64 << 20), 9))
    pixels = png_chunk(b"IDAT", zlib.compress(bytes(2)))

    found = views(png(1, 1, profile, pixels), [SMALL])[0]
    assert found == "undecodable: the PNG data cannot be decoded"


def test_a_tiff_tag_of_two_billion_values_does_no_harm():
    """A tag that claims more than the file holds is not believed."""
    content = encode(Image.fromarray(data.astronaut()), "TIFF")
    start = struct.unpack_from("<I", content, 4)[0]
    entries = struct.unpack_from("<H", content, start)[0]
    for entry in range(entries):
        place = start + 2 + 12 * entry + 4
        hostile = content[:place] + struct.pack("<I", 0x7FFFFFFF) + content[place + 4 :]
        tracemalloc.start()
        found = views(hostile, [SMALL])[0]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

        assert isinstance(found, View) or found.split(":")[0] in {"truncated", "undecodable"}
        assert peak < 8_000_000


@pytest.mark.parametrize("format", ["MPO", "PNG", "GIF", "WEBP", "TIFF"])
def test_of_several_pictures_the_first_is_shown(format):
    """Frames, pages and stereo pairs are counted where the format has them, and not shown."""
    first, second = Image.new("RGB", (40, 30), (255, 0, 0)), Image.new("RGB", (40, 30), (0, 0, 255))
    content = encode(first, format, save_all=True, append_images=[second])

    view = views(content, [PixelSpec(fit="full")])[0]

    assert isinstance(view, View)
    assert view.header.format == ("JPEG" if format == "MPO" else format)
    assert view.header.num_frames == (1 if format == "MPO" else 2)
    assert np.abs(view.pixels.astype(int) - [255, 0, 0]).max() <= 3


def test_pillows_switches_do_not_matter_and_are_put_back(monkeypatch):
    """Somebody else's settings of Pillow neither change a view nor get lost."""
    content = encode(Image.fromarray(data.astronaut()), "JPEG")
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)

    whole, cut = views(content, [SMALL])[0], views(content[:-500], [SMALL])[0]

    assert isinstance(whole, View)
    assert cut == "truncated: the JPEG data ends too early"
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True
    assert Image.MAX_IMAGE_PIXELS == 100


def test_running_out_of_memory_is_not_the_files_fault(monkeypatch):
    """MemoryError reaches the caller, who decides what it means."""

    def exhausted(self):
        raise MemoryError

    content = encode(Image.fromarray(data.astronaut()), "PNG")
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load_prepare", exhausted)

    with pytest.raises(MemoryError):
        views(content, [SMALL])


def test_large_images_wait_for_each_other(tmp_path, monkeypatch):
    """While one process holds a large image, another cannot take the lock; then it can."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    size = (LARGE_PIXELS, 2)

    def try_lock():
        (path,) = tmp_path.iterdir()
        code = (
            "import fcntl, sys\n"
            "file = open(sys.argv[1], 'r+')\n"
            "fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, check=False
        )
        return done.returncode == 0

    with alone_if_large(size):
        assert not try_lock()
    assert try_lock()


def test_small_images_need_no_lock(tmp_path, monkeypatch):
    """Below the limit no lock file is made."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    with alone_if_large((LARGE_PIXELS, 1)):
        pass

    assert list(tmp_path.iterdir()) == []


def test_a_large_image_is_decoded():
    """Between the lock's limit and max_pixels an image is decoded as any other."""
    content = encode(Image.new("L", (8_000, 4_001), 77), "PNG")

    view = views(content, [SMALL])[0]
    assert isinstance(view, View)
    assert np.unique(view.pixels).tolist() == [77]
