"""Recipes: those that ship, and how a step is computed."""

from pathlib import Path

import pytest

from curation.config import read_text
from curation.errors import ConfigError
from training.recipe import parse_recipe
from training.run import Run

RECIPES = sorted(Path("configs/train").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_is_valid(path):
    """Every key is known; the weights that it names need not be here."""
    recipe = parse_recipe(read_text(path), str(path))

    assert recipe.loop.steps > 0


def test_there_are_recipes_to_start_from():
    """Fine-tuning and an adapter, from the released weights."""
    recipes = [parse_recipe(read_text(path), str(path)).model for path in RECIPES]

    assert any(model.weights and model.lora is None for model in recipes)
    assert any(model.weights and model.lora for model in recipes)


def test_precision_is_what_a_run_is_and_the_rest_is_not(recipe):
    """A run may go on with checkpointing or compiled, but not in another precision."""

    def meaning(compute):
        return Run(parse_recipe(recipe(compute=compute), "toy.yaml")).meaning()

    plain = meaning({})
    assert meaning({"activation_checkpointing": True}) == plain
    assert meaning({"compile": True}) == plain
    assert meaning({"precision": "bf16"}) != plain


def test_precision_stands_under_compute(recipe):
    """At the top it is an unknown key."""
    with pytest.raises(ConfigError, match="precision: unknown key"):
        parse_recipe(recipe(precision="bf16"), "toy.yaml")
