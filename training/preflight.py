"""What can be refused before a device is taken and before any weights are loaded."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from curation.config import validate
from curation.errors import UsageError
from curation.weights import weights_digest
from training.data.plan import Cursor
from training.data.stages import is_same_so_far
from training.optimizers import check_ranks
from training.recipe import DataConfig, Recipe, meaningful

if TYPE_CHECKING:
    from training.run import Run

_ROUNDED = "other precisions, or gaps, of the features in data.cache, or that of a stage"


def check_weights(recipe: Recipe) -> None:
    """Refuse weights that are not to be had; what lies at a URL is fetched, as for any plan.

    Raises:
        ConfigError: Says which, and what to do.
    """
    for config in (recipe.codec, recipe.text):  # those of the model `find_start` has looked at
        for name, field in type(config).model_fields.items():
            # What names a place, and nothing else, is left out of a configuration's meaning.
            place = getattr(config, name) if field.exclude else None
            if place is not None:
                weights_digest(place)


def newest_step(run: "Run", *, resume: bool) -> int | None:
    """Return the step to go on from; null for the beginning.

    Raises:
        UsageError: The output holds checkpoints although `resume` is not asked for, or those of
            another recipe or snapshot.
    """
    steps = run.checkpoints.steps()
    where = run.recipe.output
    if not steps:
        return None
    if not resume:
        message = (
            f"{where}: holds checkpoints up to step {steps[-1]}; say --resume to go on from there, "
            "or name another output"
        )
        raise UsageError(message)
    told = run.checkpoints.state(steps[-1])
    if told.get("meaning") != run.meaning(told.get("encoders")):
        message = (
            f"{where}: its checkpoints were made by another recipe or snapshot "
            f"({_changes(told, run)}); change that back, or name another output"
        )
        raise UsageError(message)
    data = validate(DataConfig, told["recipe"]["data"], f"{where}: recipe.data")
    cursor = Cursor.from_json(told["cursor"])
    if not is_same_so_far(data.resolved_stages(), run.stages, cursor):
        message = (
            f"{where}: step {steps[-1]} is batch {cursor.of_stage:,} of stage {cursor.stage}, and "
            "up to there the recipe had other stages (data.edge_px, data.batch, data.stages); "
            "what has begun must stay as it was, or name another output"
        )
        raise UsageError(message)
    begun = cursor.stage + 1
    if told.get("rounded", run.rounded())[:begun] != run.rounded()[:begun]:
        message = f"{where}: its checkpoints were made with {_ROUNDED}; change that back"
        raise UsageError(message)
    return steps[-1]


def check_encoders(run: "Run", start: int | None) -> None:
    """Refuse to go on with other encoders than those that the first steps saw; they are loaded.

    Raises:
        UsageError: Their weights, or what decides their output, changed; or the number of processes
            did, and the optimizer fits none but the one before.
    """
    if start is None:
        return
    told = run.checkpoints.state(start)
    check_ranks(told, run.recipe.output)  # only now is it known how many processes there are
    if told.get("meaning") != run.meaning():
        message = (
            f"{run.recipe.output}: its checkpoints were made with other encoders "
            f"({told.get('encoders')}, now {run.encoders()}); name another output"
        )
        raise UsageError(message)


def _changes(told: Mapping[str, Any], run: "Run") -> str:
    """Say what differs from what a checkpoint says of its run."""
    if told.get("snapshot") != run.snapshot:
        return f"snapshot {str(told.get('snapshot'))[:12]}, now {run.snapshot[:12]}"
    before = dict(_leaves(meaningful(told.get("recipe") or {}), ""))
    now = dict(_leaves(meaningful(run.recipe.model_dump(mode="json")), ""))
    names = sorted(n for n in before.keys() | now.keys() if before.get(n) != now.get(n))
    words = [f"{n} {before.get(n)}, now {now.get(n)}" for n in names[:4]]
    start = None if run.start is None else run.start.digest
    if (told.get("weights") or {}).get("digest") != start:
        words.append("other weights at model.weights, where a run names its newest step")
    if told.get("rounded", run.rounded())[:1] != run.rounded()[:1]:
        words.append(_ROUNDED)
    return ", ".join(words) or "the format"


def _leaves(value: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for name, part in value.items():
        if isinstance(part, Mapping):
            yield from _leaves(part, f"{path}{name}.")
        else:
            yield f"{path}{name}", part
