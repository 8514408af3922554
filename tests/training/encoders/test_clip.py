"""CLIP models: real file layouts in, the vectors of open_clip out."""

from typing import Any

import numpy as np
import pytest

from tests.fakes import tiny_clip
from training.encoders.clip import ClipModel, ClipSettings

MAKERS: dict[str, Any] = {"clip": tiny_clip.clip_folder, "siglip": tiny_clip.siglip_folder}
TEXTS = ["red bicycle at night", "a dog", "a photo of a cat, asleep"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("models")
    return {kind: make(base / kind) for kind, make in MAKERS.items()}


def load(folder, batch_size=None, **settings):
    return ClipModel.load(ClipSettings(weights=str(folder), **settings), folder, "cpu", batch_size)


def random_pixels(num, size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (num, size, size, 3), np.uint8)


def reference(folder):
    """Load a folder as users of open_clip do."""
    import open_clip

    name = f"local-dir:{folder}"
    model, _, transform = open_clip.create_model_and_transforms(name)
    return model.eval(), transform, open_clip.get_tokenizer(name)


@pytest.mark.parametrize("kind", MAKERS)
def test_both_towers_say_what_open_clip_says(folders, kind):
    """For the same pixels and texts, every vector is open_clip's, and so are scale and bias."""
    import torch

    ours = load(folders[kind])
    model, transform, tokenizer = reference(folders[kind])
    pixels = random_pixels(3, ours.size_px)
    seen = torch.stack([transform.transforms[-1](_to_tensor(image)) for image in pixels])
    with torch.inference_mode():
        images = model.encode_image(seen, normalize=True).numpy()
        texts = model.encode_text(tokenizer(TEXTS), normalize=True).numpy()

    assert np.abs(ours.encode_images(pixels) - images).max() < 1e-5
    assert np.abs(ours.encode_texts(TEXTS) - texts).max() < 1e-5
    assert ours.logit_scale == pytest.approx(model.logit_scale.exp().item())
    bias = model.logit_bias
    assert ours.logit_bias == (None if bias is None else pytest.approx(bias.item()))


def _to_tensor(image):
    from torchvision.transforms import functional

    return functional.to_tensor(image)
