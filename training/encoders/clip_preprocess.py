"""How the released CLIP models want to see images, where no file beside the weights says it."""

from dataclasses import dataclass

Channels = tuple[float, float, float]
"""One number for red, green and blue each, of pixels in 0..1."""


@dataclass(frozen=True)
class Preprocess:
    """What a model was trained to see.

    Attributes:
        mean: Subtracted from pixels in 0..1.
        std: Divides them after that.
        interpolation: `bicubic` or `bilinear`.
        resize_mode: `shortest`: the shorter edge is scaled to the size and the middle cut out;
            `squash`: both edges are, whatever becomes of the aspect ratio; `longest`: the longer
            one is, and the rest filled.
    """

    mean: Channels
    std: Channels
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"


_HALF = (0.5, 0.5, 0.5)
_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)

_OPENAI = Preprocess(_CLIP_MEAN, _CLIP_STD)
_SQUASHED = Preprocess(_CLIP_MEAN, _CLIP_STD, resize_mode="squash")
_PLAIN = Preprocess((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "bilinear")
_CLIPA = Preprocess((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear", "squash")

# The first that a name contains counts; case does not. All others see as OpenAI's models do.
_FAMILIES = {
    "siglip": Preprocess(_HALF, _HALF, resize_mode="squash"),
    "clipa": _CLIPA,
    "pe-core": Preprocess(_HALF, _HALF, "bilinear", "squash"),
    "mobileclip2-s3": Preprocess(_CLIP_MEAN, _CLIP_STD, "bilinear"),
    "mobileclip2-s4": Preprocess(_CLIP_MEAN, _CLIP_STD, "bilinear"),
    "mobileclip2-l": _OPENAI,
    "mobileclip": _PLAIN,
    "worldwide-378": _SQUASHED,
    "vit-h-14-378": _SQUASHED,
}

# Releases that see otherwise than their family.
_RELEASES = {
    ("vit-l-14", "laion2b_s32b_b82k"): Preprocess(_HALF, _HALF),
    ("vit-h-14", "dfn5b"): _SQUASHED,
    ("vit-h-14-quickgelu", "dfn5b"): _SQUASHED,
}


def released_preprocess(model: str, release: str | None) -> Preprocess:
    """Return how a released model wants to see images.

    Args:
        model: Its name in open_clip, such as `ViT-L-14`.
        release: The name of its weights there, such as `laion2b_s32b_b82k`; null for what holds for
            the model's releases in general.

    Source: `open_clip.pretrained` 3.3.0, which a test compares with this for every release.
    """
    name = model.lower()
    if release is not None and (name, release) in _RELEASES:
        return _RELEASES[name, release]
    return next((found for part, found in _FAMILIES.items() if part in name), _OPENAI)
