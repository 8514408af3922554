"""The model: diffusers' own, with its keys and outputs."""

import pytest
import torch
from pydantic import ValidationError

from tests.fakes.toys import CHANNELS, EDGE, WIDTH, make_model
from training.model import Dit, ModelConfig, count_parameters, on_meta


def shown(count=3):
    generator = torch.Generator().manual_seed(2)
    latent = torch.randn(count, CHANNELS, EDGE, EDGE, generator=generator)
    text = torch.randn(count, 7, WIDTH, generator=generator)
    return latent, torch.rand(count, generator=generator), text, torch.tensor([1, 4, 7][:count])


def test_the_released_model_has_its_8_billion_parameters():
    """Counted without memory for them; 97.7 % lie in the blocks."""
    model = on_meta(ModelConfig.model_validate({"preset": "ernie_image_8b"}), 128, 3072)

    assert count_parameters(model) == 8_033_490_048
    assert count_parameters(model.transformer.layers) == 36 * 218_112_256


def test_the_proxy_is_a_billion():
    """It keeps the released head, and a tenth of the rest."""
    model = on_meta(ModelConfig.model_validate({"preset": "proxy_1b"}), 128, 3072)

    assert 0.9e9 < count_parameters(model) < 1.2e9


def test_padding_changes_nothing():
    """A sample has the same velocity alone, and beside a longer text that pads its own."""
    model = make_model().eval()
    latent, sigma, text, lens = shown()
    together = model(latent, sigma, text, lens)

    for n in range(3):
        part = slice(n, n + 1)
        alone = model(latent[part], sigma[part], text[part, : lens[n]], lens[part])
        assert torch.allclose(alone, together[part], atol=1e-5)


def test_what_stands_behind_a_text_is_not_read():
    """Other numbers in the padding, the same velocity."""
    model = make_model().eval()
    latent, sigma, text, lens = shown()
    other = text.clone()
    other[0, 1:] = 99

    assert torch.equal(model(latent, sigma, text, lens), model(latent, sigma, other, lens))


def test_weights_go_to_diffusers_and_back(tmp_path):
    """Saved by diffusers and loaded by diffusers, the velocity is the same."""
    import diffusers

    model = make_model().eval()
    model.transformer.save_pretrained(tmp_path)
    loaded = diffusers.ErnieImageTransformer2DModel.from_pretrained(tmp_path)
    latent, sigma, text, lens = shown()

    (found,) = loaded(latent, sigma * 1000, text, lens, return_dict=False)

    assert torch.equal(found, model(latent, sigma, text, lens))
    assert set(loaded.state_dict()) == set(model.transformer.state_dict())


def test_a_new_model_predicts_nothing():
    """Its last layer is zero, as the released architecture starts."""
    model = Dit(ModelConfig.model_validate({"preset": "tiny"}), CHANNELS, WIDTH)

    assert float(model(*shown()).detach().abs().max()) == 0


@pytest.mark.parametrize(
    ("sizes", "sentence"),
    [
        ({"rope_axes_dim": [8, 8, 8]}, "adds up to 24, expected"),
        ({"rope_axes_dim": [10, 11, 11]}, "each must be even"),
        ({"num_attention_heads": 5}, "adds up to 32, expected"),
        ({"preset": "huge"}, "ernie_image_8b"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes, sentence):
    """The parts of a head must add up to it, before anything is made."""
    with pytest.raises(ValidationError, match=sentence):
        ModelConfig.model_validate({"preset": "tiny", **sizes})
