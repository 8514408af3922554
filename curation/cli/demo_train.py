"""`longtail demo-train`: a tiny model on the demo's snapshot, and whether it learnt anything."""

import time
from pathlib import Path

import click

from curation.cli.console import print_lines, print_table


@click.command("demo-train")
@click.argument("recipe", type=click.Path(path_type=Path, exists=True))
def demo_train(recipe: Path) -> int:
    """Train as RECIPE says, go on where it was stopped, and judge what came out.

    Held-out loss must have fallen; and pictures drawn for held-out captions must be at most half as
    far from held-out pictures, in layout and colour, as pictures of shuffled pixels.
    """
    from curation.cli.training_line import TrainingLine
    from curation.config import read_text
    from training.judge import judge
    from training.progress import Progress
    from training.recipe import parse_recipe
    from training.run import train

    began = time.monotonic()
    parsed = parse_recipe(read_text(recipe), str(recipe))

    progress = Progress(parsed.loop.steps)
    line = TrainingLine(progress)
    try:
        run = train(parsed, resume=True, on_step=line.step, hear=progress.hear)
    finally:
        line.close()
    folder = Path(parsed.output)
    verdict = judge(run, folder)
    losses = (f"{verdict.first_loss:.3f}", f"{verdict.last_loss:.3f}", _word(verdict.has_fallen))
    distances = (f"{verdict.baseline:.4f}", f"{verdict.distance:.4f}", _word(verdict.is_near))
    rows = [
        ("held-out loss, first and last evaluation", *losses),
        ("distance to held-out pictures, of shuffled pixels and of drawn pictures", *distances),
    ]
    print_table(["", "before", "after", ""], rows)
    print_lines(
        [
            f"pictures of the training split, as many as drawn, are at {verdict.floor:.4f}",
            f"done in {time.monotonic() - began:.0f} s",
            f"drawn for {verdict.num_pictures} held-out captions  {folder}/drawn.png",
            f"the pictures themselves           {folder}/held-out.png",
            f"longtail generate {parsed.output} --prompt 'A square picture in red.' --out red.png",
        ]
    )
    return 0 if verdict.has_fallen and verdict.is_near else 1


def _word(is_good: bool) -> str:
    return "good" if is_good else "not good enough"
