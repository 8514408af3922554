"""Recipes: those that ship, what they refuse, and how a step is computed."""

from pathlib import Path

import pytest

from curation.config import read_text
from curation.errors import ConfigError
from training.data.plan import BatchConfig
from training.recipe import DataConfig, parse_recipe
from training.run import Run

RECIPES = sorted(Path("configs/train").glob("*.yaml"))

RECIPE = """
name: toy
dataset: there
output: here
data: {batch: {size: 8}, micro_size: 4, stages: [{batches: 10, edge_px: 32}, {edge_px: 64}]}
loop: {steps: 30}
"""


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


def test_the_last_stage_lasts_to_the_end():
    """Only the last one may leave open how long it is; what they do not say, the data say."""
    recipe = parse_recipe(RECIPE, "toy.yaml")

    first, last = recipe.data.resolved_stages()
    assert (first.batches, last.batches) == (10, None)
    assert first.batch == last.batch == BatchConfig(size=8)
    assert last.micro_size == 4
    assert DataConfig.model_validate(recipe.data.model_dump(mode="json")) == recipe.data


def test_without_stages_the_run_is_one():
    """It has the data's size."""
    (stage,) = DataConfig(edge_px=48).resolved_stages()

    assert (stage.edge_px, stage.batches, stage.shift) == (48, None, None)


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (
            "{edge_px: 64}",
            "{edge_px: 64, batches: 15}",
            r"30, but data.stages end after 25 batches",
        ),
        ("batches: 10, ", "", r"stages\[0\] must say its batches"),
        ("micro_size: 4", "edge_px: 128", r"edge_px is 128, but the stages say theirs"),
        ("edge_px: 32", "edge_px: 4", "16"),
    ],
)
def test_stages_that_do_not_fit_are_refused(before, after, sentence):
    """Before anything is opened, in a sentence that says which and why."""
    with pytest.raises(ConfigError, match=sentence):
        parse_recipe(RECIPE.replace(before, after), "toy.yaml")
