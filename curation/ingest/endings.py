"""What the endings of names say, where nothing is opened to find out."""

IMAGES = frozenset(
    "avif bmp gif heic heif jfif jpe jpeg jpg jxl png pbm pgm pnm ppm tif tiff webp".split()
)
"""Endings of files that are meant to be images, whether or not they can be opened."""

SIDECARS = ("txt", "json")
"""Endings of side-cars: a caption, and a JSON object of facts."""


def ending_of(name: bytes) -> str:
    """Return what stands behind the last point of a file's name, in lower case."""
    return name.rpartition(b".")[2].decode("latin-1").lower()
