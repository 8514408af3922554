"""Ray job: train a model on a snapshot.

    ray job submit --working-dir . -- python -m jobs.train recipe.yaml --snapshot ID --resume

With `--resume` the same job may be submitted again and again: it goes on where the last one was
lost, and a run that is finished ends at once and well.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from curation.errors import LongtailError
from jobs.training import train_on_ray
from training.progress import Progress
from training.recipe import read_recipe


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as a recipe says; return the exit code for Ray."""
    parser = argparse.ArgumentParser(prog="jobs.train", description="Train a model on a snapshot.")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--snapshot", help="its id, the beginning of it, or latest")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="PATH=VALUE"
    )
    given = parser.parse_args(arguments)
    overrides = list(given.overrides or ())
    if given.snapshot is not None:
        overrides.append(f"snapshot='{given.snapshot}'")
    try:
        recipe = read_recipe(given.recipe, overrides)
        progress = Progress(recipe.loop.steps)

        def hear(step: int, figures: Mapping[str, float]) -> None:
            progress.hear(step, figures)
            print(progress.words(step), flush=True)

        end = train_on_ray(
            recipe,
            resume=given.resume,
            hear=hear,
            say=lambda line: print(line, file=sys.stderr, flush=True),
        )
    except LongtailError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print("\n".join(end.lines()))
    return end.exit_code


if __name__ == "__main__":
    sys.exit(main())
