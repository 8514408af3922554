"""The only package that opens an image.

`views(data, specs)` turns the bytes of a file into what stages asked to see. A view is a pure
function of (bytes, `PixelSpec`): asking for several at once shares the decoding and the halvings,
and changes no byte. The rules, in the order in which they apply:

1. **Format.** Recognised by the first bytes, never by a name: AVIF, BMP, GIF, JPEG, PNG, PPM, TIFF,
   WEBP. Nothing else is opened, no formats that run programs (EPS, PDF) among them.
2. **Size.** Read from the header before anything is allocated; more than `max_pixels` is a `bomb`.
3. **Decoding.** The whole first frame is decoded, which proves it whole: a file that ends too early
   is `truncated`, even if only the end marker of a JPEG or PNG is missing; bytes after the end are
   nobody's business. Damage that still decodes is not seen. A JPEG whose shorter edge is 512 px or
   more is decoded at 1/2, 1/4 or 1/8 of its size for a view that averages at least as many pixels
   anyway: all coefficients are read and checked as always, only their transform is shortened.
4. **Channels.** Eight bits, of deeper ones the high byte. Float samples are cut to 0..1. Palettes
   are looked up. CMYK is converted after averaging.
5. **Averaging.** Halved, with exact integer means, as long as the view is still covered. A pixel
   weighs as much as it is opaque.
6. **Colour.** A valid embedded profile is converted to sRGB (relative colorimetric, black point
   compensation) unless it already is sRGB; a broken one counts as sRGB, and the header says so.
7. **Background.** What is left of transparency is composited on the colour that the spec states.
   Dropping it would show what lies below, often the same black for every drawing.
8. **Fit and filter.** Resized once, by the filter that the spec names.
9. **Orientation.** Turned upright as EXIF (or XMP) says.

Frames after the first, gamma and chromaticity chunks, and thumbnails are ignored.
"""

from curation.pixels.geometry import as_pillow, fit
from curation.pixels.pyramid import views
from curation.pixels.spec import VERSION, Header, PixelSpec, View, nearest_box

__all__ = ["VERSION", "Header", "PixelSpec", "View", "as_pillow", "fit", "nearest_box", "views"]
