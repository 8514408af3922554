"""`longtail train`, `longtail generate` and `longtail export`."""

from pathlib import Path

import click

from curation.cli.console import print_lines


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--snapshot", help="Id of the snapshot, its beginning or `latest`.")
@click.option("--resume", is_flag=True, help="Go on from the newest complete checkpoint.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    help="Set one key of the recipe, as in optimizer.lr=1e-5; may be repeated.",
)
def train(recipe: Path, snapshot: str | None, resume: bool, overrides: tuple[str, ...]) -> None:
    """Train a model on a snapshot, as RECIPE says.

    RECIPE is a YAML file. Figures go to `metrics.jsonl` in the run's output, pictures to
    `samples/`, checkpoints to `step-<n>/`; `summary.html` shows them all.
    """
    from curation.cli.training_line import TrainingLine
    from curation.config import read_text
    from training.recipe import parse_recipe
    from training.run import train as run_training

    if snapshot is not None:
        overrides = (*overrides, f"snapshot='{snapshot}'")
    parsed = parse_recipe(read_text(recipe), str(recipe), overrides)
    line = TrainingLine(parsed.loop.steps)
    try:
        run = run_training(parsed, resume=resume, on_step=line.step, on_figures=line.figures)
    finally:
        line.close()
    print_lines(
        [
            f"{len(run.table):,} images of snapshot {run.snapshot[:12]}",
            f"checkpoints, figures and pictures: {parsed.output}",
            f"what it learnt, to look at: {parsed.output.rstrip('/')}/summary.html",
        ]
    )


@click.command()
@click.argument("checkpoint")
@click.option("--prompt", "prompts", multiple=True, required=True, help="May be repeated.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A PNG file.")
@click.option("--steps", type=click.IntRange(min=1, max=1000), help="Of the sampler.")
@click.option("--guidance", type=click.FloatRange(min=0), help="1 for none.")
@click.option("--seed", default=0, show_default=True, help="Of the noise.")
@click.option("--last", is_flag=True, help="Take the last weights, not the averaged ones.")
def generate(
    checkpoint: str,
    prompts: tuple[str, ...],
    out: Path,
    steps: int | None,
    guidance: float | None,
    seed: int,
    last: bool,
) -> None:
    """Draw a picture for each prompt with CHECKPOINT, side by side in one file.

    CHECKPOINT is the output of a run, for its newest checkpoint, or a `step-<n>` below it.
    """
    from curation.pixels import as_pillow
    from training.evaluate import contact_sheet, draw_pictures
    from training.run import default_device
    from training.trained import load_trained

    device = default_device()
    trained = load_trained(checkpoint, device, "model" if last else None)
    config = trained.recipe.evaluation
    changes: dict[str, float] = {}
    if steps is not None:
        changes["steps"] = steps
    if guidance is not None:
        changes["guidance"] = guidance
    pixels = draw_pictures(
        trained.model,
        trained.codec,
        trained.texts,
        config.model_copy(update=changes),
        prompts,
        size=trained.square,
        device=device,
        seed=seed,
    )
    as_pillow(contact_sheet(pixels)).save(out)
    print_lines([f"{len(prompts)} pictures of step {trained.step:,}: {out}"])


@click.command()
@click.argument("checkpoint")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--last", is_flag=True, help="Take the last weights, not the averaged ones.")
@click.option("--merge", is_flag=True, help="Add an adapter to the weights that it adapts.")
def export(checkpoint: str, folder: Path, last: bool, merge: bool) -> None:
    """Write CHECKPOINT as the FOLDER that diffusers loads.

    Of a run of LoRA that is the adapter alone, unless `--merge`.
    """
    from training.export import export as write
    from training.trained import load_trained

    trained = load_trained(checkpoint, "cpu", "model" if last else None)
    kind = write(trained, folder, merge=merge)
    told = {
        "pipeline": [f"{folder}: loads with ErnieImagePipeline.from_pretrained"],
        "transformer": [
            f"{folder}/transformer: loads with ErnieImageTransformer2DModel.from_pretrained",
            "its encoders are embedded ones, which diffusers does not have; see longtail.json",
        ],
        "adapter": [
            f"{folder}: an adapter, loads with load_lora_weights of a pipeline",
            "which weights it adapts stands in longtail.json; --merge writes both as one",
        ],
    }
    print_lines(told[kind])
