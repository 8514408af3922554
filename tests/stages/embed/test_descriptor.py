"""What the descriptor finds alike, and that no image breaks it."""

import numpy as np
import pytest

from stages.embed.bands import make_bank
from stages.embed.descriptor import DIMENSION, Weights, describe
from tests.stages.photographs import (
    FILES,
    edited_copies,
    embed_stage,
    file_bytes,
    image_shard,
    photograph,
    vectors_of,
)

BANK = make_bank()
WEIGHTS = Weights(texture=0.35, color=0.25)


@pytest.mark.parametrize("size", [(1, 1), (1, 256), (256, 3), (97, 61), (256, 256)])
@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (128, 128, 128), (200, 30, 30)])
def test_an_image_of_one_color_has_a_vector(size, color):
    """A flat image has no shape, yet a description that is finite and not zero."""
    pixels = np.full((*size, 3), color, np.uint8)

    found = describe(pixels, BANK, WEIGHTS)

    assert found.shape == (DIMENSION,)
    assert np.isfinite(found).all()
    assert 0.5 < np.linalg.norm(found) <= 1


@pytest.mark.parametrize(("texture", "color"), [(0, 0), (1, 0), (0, 1), (0.3, 0.7)])
def test_any_weights_give_finite_descriptions(texture, color):
    """A part may be given no weight, or all of it."""
    pixels = np.asarray(photograph("chelsea"))

    found = describe(pixels, BANK, Weights(texture=texture, color=color))

    assert np.isfinite(found).all()
    assert 0.3 < np.linalg.norm(found) <= 1 + 1e-9


def test_noise_that_nobody_sees_is_no_shape():
    """One grey level of noise leaves a flat image nearly where it was."""
    noise = np.random.default_rng(0).integers(0, 2, (256, 256, 1), np.uint8)
    flat = np.full((256, 256, 3), 128, np.uint8)

    first, second = (describe(pixels, BANK, WEIGHTS) for pixels in (flat, flat + noise))

    assert first @ second / np.linalg.norm(first) / np.linalg.norm(second) > 0.95


def test_edited_copies_find_their_original():
    """On 19 photographs, copies are nearer to their original than any two photographs are."""
    stage = embed_stage()
    originals = [file_bytes(photograph(name)) for name in FILES]
    copies = [list(edited_copies(photograph(name)).values()) for name in FILES]

    def embed(files):
        return vectors_of(stage.process(image_shard(files, stage.pixels()))).astype(np.float64)

    reference = embed(originals)
    cosines = np.stack([embed(files) @ reference.T for files in copies])  # (photo, edit, original)
    own = np.eye(len(FILES), dtype=bool)[:, np.newaxis].repeat(cosines.shape[1], axis=1)
    same, other = cosines[own], cosines[~own]

    assert (cosines.argmax(axis=2) == np.arange(len(FILES))[:, np.newaxis]).all()
    assert (same[:, np.newaxis] > other).mean() > 0.998  # area under the ROC curve
    assert np.median(same) > 0.98
    assert np.median(other) < 0.45


def test_a_page_is_nearer_to_a_page_than_to_a_photograph():
    """Texture tells print from photographs, whatever they show."""
    stage = embed_stage()
    files = [file_bytes(photograph(name)) for name in ("page", "text", "astronaut", "chelsea")]

    vectors = vectors_of(stage.process(image_shard(files, stage.pixels()))).astype(np.float64)

    cosines = vectors @ vectors.T
    assert cosines[0, 1] > cosines[0, 2:].max()
    assert cosines[2, 3] > cosines[2, :2].max()
