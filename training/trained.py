"""A trained model: a checkpoint, ready to draw pictures or to be handed on."""

import re
from dataclasses import dataclass
from typing import Any, Literal

import torch

from curation.config import validate
from curation.errors import UsageError
from training.checkpoint import Checkpoints
from training.data.buckets import scaled_buckets
from training.encoders.latents import LatentCodec, make_codec
from training.encoders.texts import TextEncoder, make_text_encoder
from training.model import Dit
from training.null_text import check_null
from training.recipe import Recipe

_STEP = re.compile(r"(?P<output>.*?)/?step-(?P<step>\d{8})/?")


@dataclass
class Trained:
    """A checkpoint in memory.

    Attributes:
        recipe: What made it.
        snapshot: Id of the snapshot that it learnt from.
        step: Steps that it was trained for.
        model: The model.
        codec: Pictures to latents.
        texts: Captions to features.
        state: Everything else that the checkpoint says.
    """

    recipe: Recipe
    snapshot: str
    step: int
    model: Dit
    codec: LatentCodec
    texts: TextEncoder
    state: dict[str, Any]

    @property
    def square(self) -> tuple[int, int]:
        """Width and height of the recipe's square pictures."""
        return scaled_buckets(self.recipe.data.edge_px, self.codec.stride)[0]


def load_trained(
    url: str, device: torch.device | str, weights: Literal["ema", "model"] | None = None
) -> Trained:
    """Load a checkpoint.

    Args:
        url: `<output>/step-<n>`, or `<output>` for the newest.
        device: Where it shall compute.
        weights: The averaged weights or the last ones; null for averages where there are some.

    Raises:
        UsageError: There is no complete checkpoint, it has no averages, or its encoders' weights
            are others than those that it was trained with.
    """
    match = _STEP.fullmatch(url)
    checkpoints = Checkpoints(match["output"] if match else url)
    steps = checkpoints.steps()
    if not match and not steps:
        message = f"{url}: there is no complete checkpoint; name a run's output, or a step of it"
        raise UsageError(message)
    step = int(match["step"]) if match else steps[-1]
    state = checkpoints.state(step)
    recipe = validate(Recipe, {**state["recipe"], **state["places"]}, f"{url}: recipe")
    codec, texts = make_codec(recipe.codec), make_text_encoder(recipe.text)
    found = {"codec": dict(codec.identity()), "text": dict(texts.identity())}
    if found != state["encoders"]:
        message = f"{url}: trained with encoders {state['encoders']}, found {found}"
        raise UsageError(message)
    check_null(state.get("null_text"), texts.encode([""], torch.device(device))[0], url)
    model = Dit(recipe.model, codec.channels, texts.width).to(device)
    has_ema = state["roles"]["model"]["ema_updates"] > 0
    chosen = weights or ("ema" if has_ema else "model")
    if chosen == "ema" and not has_ema:
        message = f"{url}: has no averaged weights; take the last ones"
        raise UsageError(message)
    tensors = {"model": {chosen: model.state_dict()}}
    checkpoints.load(step, tensors)
    model.load_state_dict(tensors["model"][chosen])
    return Trained(recipe, state["snapshot"], step, model.eval(), codec, texts, state)
