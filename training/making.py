"""A model for a run: sharded before it has any weights, then filled shard by shard."""

import torch

from training.initial import draw_weights
from training.lora import add_adapter
from training.model import Dit, on_meta
from training.recipe import Recipe
from training.sharding import DTYPES, give_memory, prepare
from training.start import Start


def make_model(
    recipe: Recipe,
    channels: int,
    text_width: int,
    device: torch.device,
    start: Start | None,
    *,
    is_restored: bool = False,
) -> Dit:
    """Make a recipe's model, ready to train.

    It is built without memory, sharded, given memory for this rank's part alone, and filled one
    tensor at a time: so a model of any size needs on a host what its ranks hold of it.

    Args:
        recipe: The recipe.
        channels: Of latents.
        text_width: Of text features.
        device: Where it trains.
        start: What it starts from; null for what the seed gives.
        is_restored: What is trained will be filled from a checkpoint, so its memory is left as it
            is; the weights under an adapter are read all the same, since no checkpoint holds them.

    Raises:
        UsageError: The weights to start from are not of the recipe's model.
    """
    lora, compute = recipe.model.lora, recipe.compute
    model = on_meta(recipe.model, channels, text_width)
    if start is not None:
        start.check(model)
    if lora is not None:
        add_adapter(model, lora, DTYPES[compute.precision])
    prepare(model, device, compute)
    give_memory(model, device)
    filled: set[str] = set()
    if start is not None and (lora is not None or not is_restored):
        filled = start.read_into(model)
    if not is_restored:
        draw_weights(model, recipe.seed, filled)
    return model
