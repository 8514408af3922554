"""Encoders that are known before they are loaded."""

import subprocess
import sys

import pytest
import torch

from curation.errors import ConfigError, MissingWeightsError
from tests.fakes.tiny_encoders import save_tiny_ministral, save_tiny_vae
from training.encoders.configs import (
    AnyCodec,
    AnyTextEncoder,
    BlockDctConfig,
    Flux2Config,
    HashedTokensConfig,
    MinistralConfig,
)
from training.encoders.identity import codec_facts, identify
from training.encoders.latents import make_codec
from training.encoders.lazy import LazyCodec, LazyTextEncoder
from training.encoders.texts import make_text_encoder
from training.encoders.tokens import count_tokens

CPU = torch.device("cpu")


@pytest.mark.parametrize("kind", ["embedded", "released"])
def test_what_is_known_before_loading_is_what_is_loaded(tmp_path, kind):
    """Shapes and identity, from the files alone, are those of the encoder itself."""
    codec_config: AnyCodec = BlockDctConfig()
    text_config: AnyTextEncoder = HashedTokensConfig(width=32)
    if kind == "released":
        vae, words = save_tiny_vae(tmp_path / "vae"), save_tiny_ministral(tmp_path / "words")
        codec_config, text_config = (
            Flux2Config(weights=str(vae)),
            MinistralConfig(weights=str(words)),
        )

    codec, texts = LazyCodec(codec_config), LazyTextEncoder(text_config)
    loaded_codec, loaded_texts = make_codec(codec_config), make_text_encoder(text_config)

    assert (codec.channels, codec.stride) == (loaded_codec.channels, loaded_codec.stride)
    assert texts.width == loaded_texts.width
    assert codec.identity() == loaded_codec.identity() == identify(codec_config)
    assert texts.identity() == loaded_texts.identity() == identify(text_config)
    assert not {"loaded"} & {*vars(codec), *vars(texts)}
    pixels = torch.randint(0, 256, (1, 32, 32, 3), dtype=torch.uint8)
    assert torch.equal(codec.encode(pixels), loaded_codec.encode(pixels))
    both = [encoder.encode(["a red picture"], CPU)[0] for encoder in (texts, loaded_texts)]
    assert torch.equal(both[0], both[1])


def test_tokens_are_counted_as_the_encoder_counts_them(tmp_path):
    """Without its model."""
    words = save_tiny_ministral(tmp_path / "words")
    told = ["", "a red picture", "a tall blue picture in a square"]
    for config, paths in (
        (HashedTokensConfig(max_tokens=5), {}),
        (MinistralConfig(weights=str(words), max_tokens=5), {"tokenizer": words}),
    ):
        counted = count_tokens(config, told, paths)
        assert counted == make_text_encoder(config).lengths(told) == [1, 4, 5]


def test_a_folder_that_is_no_vae_is_refused(tmp_path):
    """Where its config.json is missing, or says nothing of a VAE."""
    config = Flux2Config(weights=str(tmp_path))
    with pytest.raises(MissingWeightsError, match=r"config\.json: is not there"):
        codec_facts(config, {"codec": tmp_path})
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="states no latent_channels"):
        codec_facts(config, {"codec": tmp_path})


def test_configurations_and_identities_load_no_torch():
    """So pipelines with encoders are read where there is none."""
    modules = "configs, identity, sizes, tokens"
    code = f"import sys; from training.encoders import {modules}; print('torch' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
