"""What an encoder is, told from its configuration and its files; nothing is loaded.

The identity of an encoder is everything that decides what it makes of a picture or a text. It is in
every checkpoint and in the fingerprint of every cache, so neither is used with another encoder.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curation.errors import ConfigError, MissingWeightsError
from curation.weights import weights_digest
from training.encoders.configs import (
    AnyCodec,
    AnyTextEncoder,
    Flux2Config,
    HashedTokensConfig,
    MinistralConfig,
)

CODEC = "codec"
TEXT = "text"
TOKENIZER = "tokenizer"
"""Roles of weights."""

FLUX2_EPS = 1e-5
"""Of the latents' normalisation; see `training.encoders.latents.Flux2Codec`."""

MINISTRAL_LAYER = -2
"""Of the hidden states; see `training.encoders.texts.MinistralEncoder`."""


def encoder_weights(config: AnyCodec | AnyTextEncoder) -> dict[str, str]:
    """Return role -> reference of the weights that an encoder is made of."""
    if isinstance(config, Flux2Config):
        return {CODEC: config.weights}
    if isinstance(config, MinistralConfig):
        return {TEXT: config.weights, TOKENIZER: config.tokenizer or config.weights}
    return {}


def encoder_identity(
    config: AnyCodec | AnyTextEncoder, digests: Mapping[str, str]
) -> dict[str, Any]:
    """Return, as JSON, everything that decides what an encoder makes of its input.

    Args:
        config: The encoder.
        digests: Role -> digest of its weights.
    """
    if isinstance(config, Flux2Config):
        return {
            "codec": "flux2_vae",
            "version": 1,
            "weights": digests[CODEC],
            "precision": config.precision,
            "eps": FLUX2_EPS,
        }
    if isinstance(config, MinistralConfig):
        return {
            "encoder": "ministral",
            "version": 1,
            "weights": digests[TEXT],
            "tokenizer": digests[TOKENIZER],
            "layer": MINISTRAL_LAYER,
            "precision": config.precision,
            "max_tokens": config.max_tokens,
        }
    if isinstance(config, HashedTokensConfig):
        return {
            "encoder": "hashed_tokens",
            "version": 1,
            "width": config.width,
            "max_tokens": config.max_tokens,
        }
    return {"codec": "block_dct", "version": 2}


def identify(config: AnyCodec | AnyTextEncoder) -> dict[str, Any]:
    """Return an encoder's identity; its weights are read once and hashed, and not loaded.

    Raises:
        MissingWeightsError: They are not here.
    """
    weights = encoder_weights(config)
    return encoder_identity(config, {role: weights_digest(weights[role]) for role in weights})


def identity_lines(kind: str, identity: Mapping[str, Any]) -> dict[str, str]:
    """Return an identity as text under names such as `codec.eps`, for a fingerprint's digests."""
    return {f"{kind}.{name}": str(value) for name, value in identity.items()}


def codec_facts(config: AnyCodec, paths: Mapping[str, Path]) -> dict[str, int]:
    """Return `channels` and `stride` of a codec's latents, from its `config.json`.

    Args:
        config: The codec.
        paths: Role -> where its weights lie on this machine.

    Raises:
        ConfigError: The folder is no VAE.
    """
    if not isinstance(config, Flux2Config):
        return {"channels": 192, "stride": 8}
    told = _read_json(paths[CODEC])
    try:
        stride = 2 ** len(told["block_out_channels"])
        return {"channels": 4 * int(told["latent_channels"]), "stride": stride}
    except (KeyError, TypeError, ValueError) as error:
        message = (
            f"{paths[CODEC]}/config.json: states no latent_channels and block_out_channels; name "
            "the `vae` folder of an ERNIE-Image pipeline"
        )
        raise ConfigError(message) from error


def text_facts(config: AnyTextEncoder, paths: Mapping[str, Path]) -> dict[str, int]:
    """Return `width`, the features of a token, from the model's `config.json`.

    Args:
        config: The encoder.
        paths: Role -> where its weights lie on this machine.

    Raises:
        ConfigError: The folder is no text model.
    """
    if isinstance(config, HashedTokensConfig):
        return {"width": config.width}
    told = _read_json(paths[TEXT])
    told = told.get("text_config") or told
    if not isinstance(told.get("hidden_size"), int):
        message = (
            f"{paths[TEXT]}/config.json: states no hidden_size; name the `text_encoder` folder of "
            "an ERNIE-Image pipeline"
        )
        raise ConfigError(message)
    return {"width": told["hidden_size"]}


def _read_json(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        message = f"{path}: is not there; the weights are a folder with it"
        raise MissingWeightsError(message) from error
    except ValueError as error:
        message = f"{path}: not JSON; restore the file"
        raise ConfigError(message) from error
    return value
