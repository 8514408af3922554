"""Texts as classifiers."""

import numpy as np
import pytest

from curation.errors import ConfigError
from tests.fakes.tiny_clip import clip_folder, siglip_folder
from tests.stages.categorize.test_taxonomy import embed_of
from training.encoders.zero_shot import check_text_tower, embed_texts, mean_direction


def behind(folder):
    embed = embed_of(embedder="open_clip", weights=str(folder))
    embed.facts = embed.learn()
    return embed


def test_groups_are_embedded_alike_whatever_else_is_asked(tmp_path):
    """A group's vector is its own: repeated texts, other groups and empty ones change no bit."""
    embed = behind(clip_folder(tmp_path / "clip"))
    group = ["a photo of a cat", "a cat"]

    alone = embed_texts(embed, [group])
    among = embed_texts(embed, [["a dog"] * 3, [], group, [f"thing {n}" for n in range(20)], group])

    assert np.array_equal(among.vectors[2], alone.vectors[0])
    assert np.array_equal(among.vectors[4], alone.vectors[0])
    assert not among.vectors[1].any()
    lengths = np.linalg.norm(among.vectors[[0, 2, 3]], axis=1)
    assert lengths == pytest.approx([1, 1, 1], abs=1e-12)
    assert among.logit_scale == alone.logit_scale > 1


def test_siglip_reads_texts_too(tmp_path):
    """A model with a sigmoid gives unit vectors and its own scale."""
    embed = behind(siglip_folder(tmp_path / "siglip"))
    check_text_tower(embed)

    found = embed_texts(embed, [["a cat"], ["a dog"]])

    assert np.linalg.norm(found.vectors, axis=1) == pytest.approx([1, 1])
    assert abs(float(found.vectors[0] @ found.vectors[1])) < 0.9999


def test_a_model_without_its_tokenizer_is_refused(tmp_path):
    """Before a run, by a sentence that says which file is missing."""
    embed = behind(siglip_folder(tmp_path / "siglip", with_tokenizer=False))

    with pytest.raises(ConfigError, match="not beside the weights"):
        check_text_tower(embed)


def test_texts_without_a_common_direction_are_refused():
    """Opposite vectors and NaN have no mean to scale to length 1."""
    one = np.array([1.0, 0])

    with pytest.raises(ConfigError, match="no common direction"):
        mean_direction(np.stack([one, -one]))
    with pytest.raises(ConfigError, match="no common direction"):
        mean_direction(np.stack([one, one * np.nan]))
