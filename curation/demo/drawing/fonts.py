"""The typefaces that come inside matplotlib's wheel and Pillow itself."""

from dataclasses import dataclass
from functools import lru_cache
from random import Random

from PIL import ImageFont

from curation.demo.drawing.wheels import package_file

Font = ImageFont.FreeTypeFont

_FILES = {
    "sans": "DejaVuSans",
    "sans_bold": "DejaVuSans-Bold",
    "sans_oblique": "DejaVuSans-Oblique",
    "serif": "DejaVuSerif",
    "serif_bold": "DejaVuSerif-Bold",
    "serif_italic": "DejaVuSerif-Italic",
    "mono": "DejaVuSansMono",
    "mono_bold": "DejaVuSansMono-Bold",
    "mono_oblique": "DejaVuSansMono-Oblique",
    "times": "STIXGeneral",
    "times_bold": "STIXGeneralBol",
    "times_italic": "STIXGeneralItalic",
    "roman": "cmr10",
    "roman_bold": "cmb10",
    "grotesk": "cmss10",
    "typewriter": "cmtt10",
}


@dataclass(frozen=True)
class Typeface:
    """Three faces that belong together, by the names that `font` knows."""

    plain: str
    bold: str
    italic: str


TYPEFACES = (
    Typeface("sans", "sans_bold", "sans_oblique"),
    Typeface("serif", "serif_bold", "serif_italic"),
    Typeface("times", "times_bold", "times_italic"),
    Typeface("roman", "roman_bold", "times_italic"),
    Typeface("grotesk", "sans_bold", "sans_oblique"),
    Typeface("aileron", "sans_bold", "sans_oblique"),
)
MONOSPACE = Typeface("mono", "mono_bold", "mono_oblique")


def typeface(rng: Random) -> Typeface:
    """Draw a typeface for running text."""
    return rng.choice(TYPEFACES)


@lru_cache(maxsize=512)
def font(name: str, size_px: int) -> Font:
    """Return a face in a size; the simple layout engine, so that all systems set the same text."""
    if name == "aileron":
        built_in = ImageFont.load_default(size_px)
        assert isinstance(built_in, ImageFont.FreeTypeFont)
        return built_in
    path = package_file("matplotlib", f"mpl-data/fonts/ttf/{_FILES[name]}.ttf")
    return ImageFont.truetype(str(path), size_px, layout_engine=ImageFont.Layout.BASIC)
