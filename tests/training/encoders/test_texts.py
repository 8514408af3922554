"""Text encoders."""

import shutil

import pytest
import torch

from curation.errors import ConfigError
from tests.fakes.ernie_parts import write_text_encoder
from training.encoders.texts import (
    HashedTokensConfig,
    HashedTokensEncoder,
    MinistralConfig,
    MinistralEncoder,
    pad,
)

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def ministral(tmp_path_factory):
    """A tiny Mistral 3 with random weights and a tokenizer of its own, in their files."""
    folder = tmp_path_factory.mktemp("ministral")
    return write_text_encoder(folder), folder


def test_hashed_tokens_know_words_and_nothing_else():
    """A word has one vector wherever it stands; the empty text has one token."""
    encoder = HashedTokensEncoder(HashedTokensConfig(width=32))

    first, second, empty = encoder.encode(["A red dog.", "red", ""], CPU)

    assert [len(first), len(second), len(empty)] == [5, 2, 1]
    assert torch.equal(first[2], second[1])
    assert not torch.equal(first[1], first[2])
    assert encoder.lengths(["A red dog.", "red", ""]) == [5, 2, 1]


def test_hashed_tokens_cut_long_texts():
    """No text is longer than it may be."""
    encoder = HashedTokensEncoder(HashedTokensConfig(width=8, max_tokens=4))

    assert encoder.encode(["one two three four five"], CPU)[0].shape == (4, 8)
    assert encoder.lengths(["one two three four five"]) == [4]


def test_hashed_tokens_are_frozen():
    """The first numbers of a word, for ever: checkpoints depend on them."""
    encoder = HashedTokensEncoder(HashedTokensConfig(width=64))

    found = encoder.encode(["dog"], CPU)[0][1][:4]

    assert torch.allclose(found, torch.tensor(DOG), atol=1e-4)


DOG = [-0.8412, 0.0211, 1.0923, -0.0197]


def test_ministral_features_are_the_second_to_last_state(ministral):
    """One text at a time, special tokens included, as `ErnieImagePipeline.encode_prompt` does."""
    model, folder = ministral
    encoder = MinistralEncoder(MinistralConfig(weights=str(folder), precision="fp32"))

    found = encoder.encode(["a red dog", "the word sale with a blue poster", ""], CPU)

    assert [len(text) for text in found] == [4, 8, 1]
    assert encoder.lengths(["a red dog", ""]) == [4, 1]
    assert encoder.width == 32
    ids = torch.tensor([[1, 2, 3, 4]])
    with torch.no_grad():
        expected = model(input_ids=ids, output_hidden_states=True).hidden_states[-2][0]
    assert torch.allclose(found[0], expected, atol=1e-5)


def test_texts_are_padded_behind_their_end():
    """Zeros follow each text, and the lengths say where."""
    padded, lengths = pad([torch.ones(2, 3), torch.ones(4, 3)])

    assert padded.shape == (2, 4, 3)
    assert lengths.tolist() == [2, 4]
    assert float(padded[0, 2:].abs().sum()) == 0


def test_pickles_are_not_read(ministral, tmp_path):
    """A model in PyTorch's pickles is refused with the reason; loading one may run code."""
    _, folder = ministral
    copy = tmp_path / "pickled"
    shutil.copytree(folder, copy)
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")

    with pytest.raises(ConfigError, match=r"no \*\.safetensors; pickles, which may run code"):
        MinistralEncoder(MinistralConfig(weights=str(copy), precision="fp32"))
