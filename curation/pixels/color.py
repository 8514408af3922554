"""From the channels of a file to sRGB: depths, palettes, transparency, profiles, backgrounds."""

import functools
import io
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, ImageCms

Channels = Literal["L", "RGB", "RGBa", "CMYK"]
Profile = Literal["none", "srgb", "applied", "broken"]

_SRGB_TOLERANCE = 2  # of 255: profiles that call themselves sRGB differ by rounding alone
_PROBE_STEPS = 9
_SPACES = {"L": "GRAY", "RGB": "RGB ", "RGBA": "RGB ", "CMYK": "CMYK"}
_CMS_ERRORS = (ImageCms.PyCMSError, OSError, TypeError, ValueError)


def to_channels(image: Image.Image) -> tuple[NDArray[np.uint8], Channels]:
    """Bring a decoded image to 8-bit channels that may be averaged.

    Returns:
        (height, width) for `L`, (height, width, 4) otherwise; the fourth channel is alpha for
        `RGBa` (colours are multiplied by it), black for `CMYK`, and nothing, or missing, for `RGB`.
    """
    image = _to_8_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA").convert("RGBa")
    elif image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        assert converted is not None
        image = converted
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in {"L", "RGB", "CMYK"}:
        image = image.convert("RGB")
    return _samples(image), image.mode  # type: ignore[return-value]  # one of Channels by now


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Return deep greyscale as `L` or, with a transparent value, `LA`; the rest as it is."""
    if image.mode.startswith("I;16"):
        values = np.asarray(image)
        grey = (values >> 8).astype(np.uint8)
    elif image.mode == "I":  # PGM above 255, which Pillow stretches to 16 bits, and 32-bit TIFF
        values = np.asarray(image)
        grey = (np.clip(values, 0, 0xFFFF) >> 8).astype(np.uint8)
    elif image.mode == "F":
        values = np.nan_to_num(np.asarray(image), nan=0.0, posinf=1.0, neginf=0.0)
        grey = np.floor(np.clip(values, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    else:
        return image
    clear = image.info.get("transparency")
    if not isinstance(clear, int):
        return Image.fromarray(grey)
    alpha = np.where(values == clear, 0, 255).astype(np.uint8)
    return Image.merge("LA", (Image.fromarray(grey), Image.fromarray(alpha)))


def _samples(image: Image.Image) -> NDArray[np.uint8]:
    """Return the samples of an image, without copying them where they lie in one block."""
    shape = (image.height, image.width) if image.mode == "L" else (image.height, image.width, 4)
    try:
        array: Any = pa.array(image)
    except ValueError:  # spread over several blocks, as Pillow likes it above 16 MiB
        return np.asarray(image)
    flat = array if image.mode == "L" else array.flatten()
    return np.asarray(flat.to_numpy(zero_copy_only=True)).reshape(shape)


def to_srgb(
    samples: NDArray[np.uint8],
    channels: Channels,
    profile: bytes | None,
    background: tuple[int, int, int],
) -> tuple[NDArray[np.uint8], Profile]:
    """Convert averaged channels to sRGB on `background`.

    Args:
        samples: As `to_channels` returns them.
        channels: What they are.
        profile: The embedded ICC profile; null without.
        background: sRGB.

    Returns:
        (height, width, 3), and what became of the profile.
    """
    if channels == "RGB" and not profile:
        return _without_fourth(samples), "none"
    image = _image(samples, channels)
    state: Profile = "none"
    if profile:
        state, transform = _transform(profile, image.mode)
        if transform is not None:
            image = _apply(transform, image)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*background, 255)), image)
    return np.asarray(image.convert("RGB")), state


def _apply(transform: ImageCms.ImageCmsTransform, image: Image.Image) -> Image.Image:
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    result = ImageCms.applyTransform(image.convert(transform.input_mode), transform)
    assert result is not None
    if alpha is not None:
        result.putalpha(alpha)
    return result


def _image(samples: NDArray[np.uint8], channels: Channels) -> Image.Image:
    if channels == "RGB":
        return Image.fromarray(_without_fourth(samples))
    size = (samples.shape[1], samples.shape[0])
    flat = np.ascontiguousarray(samples)
    image = Image.frombuffer(channels, size, flat, "raw", channels, 0, 1)
    return image.convert("RGBA") if channels == "RGBa" else image


def _without_fourth(samples: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if samples.shape[2] == 3:
        return samples
    import cv2

    return np.asarray(cv2.cvtColor(samples, cv2.COLOR_RGBA2RGB), np.uint8)


@functools.lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> tuple[Profile, ImageCms.ImageCmsTransform | None]:
    """Return what an embedded profile is and, if it must be applied, its transform to sRGB."""
    source_mode = "RGB" if mode == "RGBA" else mode
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space != _SPACES[mode]:
            return "broken", None
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            source_mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        if source_mode != "CMYK" and _changes_nothing(transform, source_mode):
            return "srgb", None
    except _CMS_ERRORS:
        return "broken", None
    return "applied", transform


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    steps = np.linspace(0, 255, _PROBE_STEPS).astype(np.uint8)
    if mode == "L":
        probe = Image.fromarray(steps[np.newaxis])
    else:
        grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(_PROBE_STEPS, -1, 3)
        probe = Image.fromarray(np.ascontiguousarray(grid))
    before = np.asarray(probe.convert("RGB")).astype(np.int16)
    result = ImageCms.applyTransform(probe, transform)
    assert result is not None
    after = np.asarray(result).astype(np.int16)
    return int(np.abs(after - before).max()) <= _SRGB_TOLERANCE
