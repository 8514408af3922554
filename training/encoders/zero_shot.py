"""Texts as classifiers: the text tower of the CLIP model whose vectors another stage reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.errors import ConfigError
from curation.pipeline.stage import Stage
from curation.weights import Reference
from training.encoders.clip import ClipModel, ClipSettings, check_installed
from training.encoders.clip_config import read_architecture
from training.encoders.clip_text import text_obstacle


@dataclass(frozen=True)
class TextVectors:
    """What texts look like to a model.

    Attributes:
        vectors: (groups, dimension) of length 1; zeros for a group without texts.
        logit_scale: What the model multiplies cosines by before the softmax or sigmoid. The bias
            of models with a sigmoid (SigLIP) is one for all texts, so between texts it cancels.
    """

    vectors: NDArray[np.float64]
    logit_scale: float


def check_text_tower(embed: Stage[Any]) -> None:
    """Refuse an `embed` whose model cannot read texts.

    Weights that lie elsewhere are looked at by the workers: here, they may be needed no more.

    Raises:
        ConfigError: Says which embedder to take, or what to install.
    """
    settings = _settings_of(embed)
    check_installed()
    (role,) = embed.weights()
    reference = Reference.parse(embed.weights()[role])
    if reference.kind == "path" and not Path(reference.text).exists():
        return
    obstacle = text_obstacle(read_architecture(settings, embed.weights_path(role)))
    if obstacle is not None:
        raise ConfigError(obstacle)


def embed_texts(embed: Stage[Any], groups: Sequence[Sequence[str]]) -> TextVectors:
    """Embed groups of texts with the model behind `embed`, where it runs; one vector a group.

    Args:
        embed: The stage that wrote the images' vectors, with its facts.
        groups: Texts that mean the same.

    Raises:
        ConfigError: The model cannot read texts, or its files are not here.

    Source: Radford et al. 2021, section 3.1.4: the texts' unit vectors are averaged and the mean
    scaled to length 1, as in open_clip's `build_zero_shot_classifier`; here in float64.
    """
    settings = _settings_of(embed)
    (role,) = embed.weights()
    here = embed.execution
    model = ClipModel.load(settings, embed.weights_path(role), here.device, here.batch_size)
    texts = list(dict.fromkeys(text for group in groups for text in group))
    place = {text: number for number, text in enumerate(texts)}
    found = model.encode_texts(texts).astype(np.float64)
    vectors = np.zeros((len(groups), model.dimension))
    for number, group in enumerate(groups):
        if group:
            vectors[number] = mean_direction(found[[place[text] for text in group]])
    return TextVectors(vectors, model.logit_scale)


def mean_direction(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of (n, dimension) unit vectors, scaled to length 1.

    Raises:
        ConfigError: They cancel each other out, or are not finite.
    """
    mean = vectors.mean(axis=0)
    length = float(np.sqrt(np.square(mean).sum()))
    if not length > 0 or not np.isfinite(length):
        message = "texts that mean the same have no common direction; the weights are broken"
        raise ConfigError(message)
    unit: NDArray[np.float64] = mean / length
    return unit


def _settings_of(embed: Stage[Any]) -> ClipSettings:
    if isinstance(embed.config, ClipSettings):
        return embed.config
    chosen = getattr(embed.config, "embedder", embed.name)
    message = (
        f"reads the vectors of the embedder {chosen!r}, which has no text tower; take "
        "`embedder: open_clip` with weights of a CLIP or SigLIP model"
    )
    raise ConfigError(message)
