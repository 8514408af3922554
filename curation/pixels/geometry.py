"""Sizes, halvings, crops and turns of arrays of pixels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curation.pixels.spec import PixelSpec

_FILTERS = {
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def as_pillow(pixels: NDArray[np.uint8]) -> Any:
    """Wrap (height, width, 3) RGB or (height, width) grey for a library that wants Pillow's."""
    return Image.fromarray(pixels)


def num_halvings(spec: PixelSpec, width: int, height: int) -> int:
    """Return how often an image may be halved and still cover what `spec` shows of it."""
    if spec.fit == "full":
        return 0
    if spec.fit == "inside":
        times = max(width, height) // spec.size_px
    else:
        times = min(width // spec.box[0], height // spec.box[1])
    if spec.fit == "crop":  # what was averaged before shows in the view: leave the filter its work
        times //= 2
    return max(0, times.bit_length() - 1)


def halve(samples: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Average squares of four pixels, halves rounded up; an odd last row or column pairs up.

    Args:
        samples: (height, width) or (height, width, channels).

    Returns:
        Half the height and width, rounded up.
    """
    import cv2

    height, width = samples.shape[:2]
    odd_height, odd_width = height % 2, width % 2
    if min(height, width) == 1:  # repeat the only line: the mean of four is that of two, exactly
        border = ((0, odd_height), (0, odd_width), (0, 0))[: samples.ndim]
        return halve(np.pad(samples, border, mode="edge")) if height + width > 2 else samples
    size = (width // 2, height // 2)
    even = samples[: 2 * size[1], : 2 * size[0]]
    inner = np.asarray(cv2.resize(even, size, interpolation=cv2.INTER_AREA), np.uint8)
    if not (odd_height or odd_width):
        return inner
    result = np.empty((size[1] + odd_height, size[0] + odd_width, *samples.shape[2:]), np.uint8)
    result[: size[1], : size[0]] = inner
    if odd_width:
        result[: size[1], -1] = _halve_line(samples[: 2 * size[1], -1])
    if odd_height:
        result[-1, : size[0]] = _halve_line(samples[-1, : 2 * size[0]])
    if odd_height and odd_width:
        result[-1, -1] = samples[-1, -1]
    return result


def _halve_line(line: NDArray[np.uint8]) -> NDArray[np.uint8]:
    pairs = line[0::2].astype(np.uint16) + line[1::2]
    return ((pairs + 1) >> 1).astype(np.uint8)


def resize(
    pixels: NDArray[np.uint8], spec: PixelSpec, width: int, height: int, power: int
) -> NDArray[np.uint8]:
    """Bring an image that was halved `power` times to the size that `spec` asks for.

    Args:
        pixels: (rows, columns, 3).
        spec: What is asked for.
        width: Of the image before it was halved; a last column may stand for less than a whole one.
        height: Likewise.
        power: Number of halvings.
    """
    if spec.fit == "full":
        return pixels
    target, box = _window(spec, width, height)
    if target == (width, height):  # which leaves nothing to cut off either
        return pixels
    scale = float(1 << power)
    left, top, right, bottom = (edge / scale for edge in box)
    if spec.filter == "linear":
        import cv2

        first_row, first_column = int(top), int(left)
        last_row, last_column = max(int(bottom + 0.5), 1), max(int(right + 0.5), 1)
        window = pixels[first_row:last_row, first_column:last_column]
        exact = cv2.INTER_LINEAR_EXACT
        return np.asarray(cv2.resize(window, target, interpolation=exact), np.uint8)
    image = Image.fromarray(pixels)
    resized = image.resize(target, _FILTERS[spec.filter], box=(left, top, right, bottom))
    return np.asarray(resized)


def _window(
    spec: PixelSpec, width: int, height: int
) -> tuple[tuple[int, int], tuple[float, float, float, float]]:
    """Return the (width, height) of the view and the part of the image that it shows."""
    whole = (0.0, 0.0, float(width), float(height))
    if spec.fit == "squash":
        return spec.box, whole
    if spec.fit == "cover":
        across, down = spec.box
        # The largest part of the view's proportions: the full height, or the full width.
        if width * down >= height * across:
            shown = (height * across / down, float(height))
        else:
            shown = (float(width), width * down / across)
        left, top = (width - shown[0]) / 2, (height - shown[1]) / 2
        return spec.box, (left, top, left + shown[0], top + shown[1])
    if spec.fit == "crop":
        return spec.box, _whole_pixel_crop(spec.size_px, width, height)
    longer = max(width, height)
    if longer <= spec.size_px:
        return (width, height), whole
    target = tuple(max(1, (2 * n * spec.size_px + longer) // (2 * longer)) for n in (width, height))
    return (target[0], target[1]), whole


def _whole_pixel_crop(size_px: int, width: int, height: int) -> tuple[float, float, float, float]:
    """Return the part of an image that is left when it is scaled first and cut after.

    The longer edge is rounded down when scaled, and half a pixel too much at an end goes to an even
    offset. Pillow's filters look beyond the part, as they would have in the whole image.

    Source: torchvision 0.28, `Resize(size)` and `CenterCrop(size)`.
    """
    shorter = min(width, height)
    box = [0.0, 0.0, 0.0, 0.0]
    for axis, edge in enumerate((width, height)):
        scaled = size_px * edge // shorter
        first = round((scaled - size_px) / 2)
        box[axis] = first * edge / scaled
        box[axis + 2] = (first + size_px) * edge / scaled
    return (box[0], box[1], box[2], box[3])


def turn_upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo an EXIF orientation.

    Source: EXIF 2.32 (CIPA DC-008), tag 274.
    """
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def fit(pixels: NDArray[np.uint8], spec: PixelSpec) -> NDArray[np.uint8]:
    """Bring an upright sRGB image to what `spec` asks for, as `views` does after decoding.

    For a stage that sees every pixel and wants a smaller view of them too. Equal to the view itself
    for upright files without transparency or profile that are not scaled in decoding.

    Args:
        pixels: (height, width, 3).
        spec: What is asked for; its background and limit do not matter here.
    """
    height, width = pixels.shape[:2]
    spec = spec.boxed(width, height)
    power = num_halvings(spec, width, height)
    for _ in range(power):
        pixels = halve(pixels)
    return resize(pixels, spec, width, height, power)
