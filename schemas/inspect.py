"""What `inspect` writes: the file's own facts, two hashes, and measurements of a small view."""

import pyarrow as pa

from schemas.columns import column, table

INSPECT = table(
    "inspect",
    column("width", pa.int32(), "Pixels across, once turned upright.", unit="px"),
    column("height", pa.int32(), "Pixels down, once turned upright.", unit="px"),
    column("format", pa.string(), "AVIF, BMP, GIF, JPEG, PNG, PPM, TIFF or WEBP, by its bytes."),
    column("mode", pa.string(), "Channels as stored, in Pillow's words: RGB, L, CMYK, P, I;16..."),
    column("orientation", pa.int8(), "EXIF orientation as stated; 1 where none is.", unit="1..8"),
    column("num_frames", pa.int32(), "Frames or pages; all else is about the first."),
    column("has_alpha", pa.bool_(), "Whether there is an alpha channel or a transparent colour."),
    column("bits_per_sample", pa.int16(), "Bits of one channel as stored.", unit="bits"),
    column(
        "color_profile",
        pa.string(),
        "Embedded ICC profile: none, srgb (as good as), applied (converted), broken (ignored).",
    ),
    column(
        "phash",
        pa.uint64(),
        "Perceptual hash: signs of 8 x 8 low frequencies against their median, first row first, "
        "first bit highest, so that 16 hexadecimal digits of it read as imagehash prints them.",
    ),
    column(
        "dhash",
        pa.uint64(),
        "Difference hash: whether each of 8 x 8 cells is darker than its right neighbour; bits in "
        "the order of phash.",
    ),
    column("mean_luma", pa.float32(), "Mean luma (BT.601) of the view.", unit="0..255"),
    column(
        "dark_share", pa.float32(), "Share of the view's pixels with luma 4 or less.", unit="0..1"
    ),
    column(
        "bright_share",
        pa.float32(),
        "Share of the view's pixels with luma 251 or more.",
        unit="0..1",
    ),
    column("contrast", pa.float32(), "Standard deviation of the view's luma.", unit="0..127.5"),
    column(
        "entropy",
        pa.float32(),
        "Entropy of the view's luma histogram; 0 for a flat picture, whose hashes say nothing.",
        unit="0..8 bits",
    ),
    column(
        "sharpness",
        pa.float32(),
        "Variance of the Laplacian of the view's luma. Blur that the view averages away is not "
        "seen.",
        unit=">= 0",
    ),
    column(
        "colorfulness",
        pa.float32(),
        "Spread and offset of the view's opponent colours; 0 for grey, above 80 for vivid.",
        unit=">= 0",
    ),
    column(
        "border_variance",
        pa.float32(),
        "Variance of luma in the view's outer frame, 1/32 of the shorter edge wide; about 0 for a "
        "picture in a plain frame.",
        unit="0..16256.25",
    ),
    column(
        "bits_per_pixel",
        pa.float32(),
        "Compressed picture data of the view as a JPEG of quality 75: little for plain pictures, "
        "much for noise.",
        unit="bits/px",
    ),
    column(
        "error", pa.string(), "`code: text` where the image has no view; all else is null then."
    ),
)
"""Every number but the facts and hashes is measured on one view, 256 px on its longer edge."""
