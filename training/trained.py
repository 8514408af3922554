"""A trained model: a checkpoint, ready to draw pictures or to be handed on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from curation.config import validate
from curation.errors import UsageError
from training.checkpoint_url import find_checkpoint
from training.data.buckets import scaled_buckets
from training.encoders.latents import LatentCodec, make_codec
from training.encoders.texts import TextEncoder, make_text_encoder
from training.lora import add_adapter
from training.model import Dit, on_meta
from training.null_text import check_null
from training.recipe import Recipe
from training.sharding import give_memory
from training.start import choose_kind, find_start


@dataclass
class Trained:
    """A checkpoint in memory.

    Attributes:
        recipe: What made it.
        snapshot: Id of the snapshot that it learnt from.
        step: Steps that it was trained for.
        model: The model, fp32; of an adapter's run, with its adapter.
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
        """Width and height of square pictures at the checkpoint's stage."""
        stage = self.recipe.data.resolved_stages()[self.state["cursor"]["stage"]]
        return scaled_buckets(stage.edge_px, self.codec.stride)[0]


def load_trained(
    url: str, device: torch.device | str, weights: Literal["ema", "model"] | None = None
) -> Trained:
    """Load a checkpoint; of an adapter's run, with the weights that it adapts.

    Args:
        url: `<output>/step-<n>`, or `<output>` for the newest.
        device: Where it shall compute.
        weights: The averaged weights or the last ones; null for averages where there are some.

    Raises:
        UsageError: There is no complete checkpoint, it has no averages, or its encoders' weights,
            or those that it adapts, are others than those that it was trained with.
    """
    checkpoints, step = find_checkpoint(url)
    state = checkpoints.state(step)
    recipe = validate(Recipe, {**state["recipe"], **state["places"]}, f"{url}: recipe")
    codec, texts = make_codec(recipe.codec), make_text_encoder(recipe.text)
    found = {"codec": dict(codec.identity()), "text": dict(texts.identity())}
    if found != state["encoders"]:
        message = f"{url}: trained with encoders {state['encoders']}, found {found}"
        raise UsageError(message)
    check_null(state.get("null_text"), texts.encode([""], torch.device(device))[0], url)
    chosen = choose_kind(url, state, weights)
    model = on_meta(recipe.model, codec.channels, texts.width)
    if recipe.model.lora is None:
        give_memory(model, torch.device(device))
    else:
        _load_base(model, recipe, url, state, torch.device(device))
    values = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    checkpoints.load(step, {"model": {chosen: values}})
    return Trained(recipe, state["snapshot"], step, model.eval(), codec, texts, state)


def _load_base(
    model: Dit, recipe: Recipe, url: str, state: Mapping[str, Any], device: torch.device
) -> None:
    """Give a model an adapter, and the weights that it adapts."""
    assert recipe.model.lora is not None
    assert recipe.model.weights is not None
    base = find_start(recipe.model.weights, last=recipe.model.last)
    if base.digest != state["weights"]["digest"]:
        message = (
            f"{url}: adapts the weights {state['weights']['digest'][:12]}, and "
            f"{base.reference} holds {base.digest[:12]}; put those back that it was trained on"
        )
        raise UsageError(message)
    base.check(model)
    add_adapter(model, recipe.model.lora, torch.float32)
    give_memory(model, device)
    base.read_into(model)
