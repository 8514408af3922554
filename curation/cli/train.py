"""`longtail train`, `longtail generate` and `longtail export`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from curation.cli.console import print_lines, printable

if TYPE_CHECKING:
    from training.run import Run


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
@click.option("--ray", "on_ray", is_flag=True, help="Train on a Ray cluster.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes, with --ray.")
@click.option("--address", help="Address of the Ray cluster; a local one is started if left.")
def train(
    recipe: Path,
    snapshot: str | None,
    resume: bool,
    overrides: tuple[str, ...],
    on_ray: bool,
    workers: int | None,
    address: str | None,
) -> int:
    """Train a model on a snapshot, as RECIPE says.

    RECIPE is a YAML file. Figures go to `metrics.jsonl` in the run's output, pictures to
    `samples/`, checkpoints to `step-<n>/`; `summary.html` shows them all. Ctrl-C and SIGTERM end
    it after the step in hand, with a checkpoint. Started by torchrun, it is one of several
    processes.
    """
    from curation.errors import UsageError

    if snapshot is not None:
        overrides = (*overrides, f"snapshot='{snapshot}'")
    if on_ray:
        if workers is not None:
            overrides = (*overrides, f"workers.count={workers}")
        return _train_on_ray(recipe, overrides, resume=resume, address=address)
    if workers is not None or address is not None:
        message = "--workers and --address are for --ray; without it, start with torchrun"
        raise UsageError(message)
    return _train_here(recipe, overrides, resume=resume)


def _train_here(recipe: Path, overrides: Sequence[str], *, resume: bool) -> int:
    """Train in this process, alone or as torchrun started it."""
    from curation.cli.training_line import TrainingLine
    from training.launch import launched
    from training.progress import Progress
    from training.recipe import read_recipe
    from training.run import carry_out, is_finished, prepare
    from training.stopping import TrainingInterruptedError, stop_signals

    with launched() as ranks:
        place = ranks.place
        parsed = read_recipe(recipe, overrides)
        run, start = prepare(parsed, resume=resume, device=place.device())
        if is_finished(run, start):
            if place.is_first:
                print_lines([f"finished already, at step {start:,}: {parsed.output}"])
            return 0
        signals = stop_signals(
            is_first=place.is_first, patience_s=_TORCHRUN_S if place.is_launched else 0.0
        )
        interrupted: TrainingInterruptedError | None = None
        progress = Progress(parsed.loop.steps)
        line = TrainingLine(progress)
        on_step = line.step if place.is_first else _nothing
        with signals as stop, ranks.joined(run.device, parsed.workers.timeout_s):
            try:
                carry_out(run, start, on_step=on_step, hear=progress.hear, stop=stop)
            except TrainingInterruptedError as error:
                interrupted = error
            finally:
                line.close()
    if place.is_first:
        print_lines([str(interrupted)] if interrupted else _end(run, parsed.output))
    return stop.exit_code if interrupted else 0


def _train_on_ray(
    recipe: Path, overrides: Sequence[str], *, resume: bool, address: str | None
) -> int:
    """Train on a cluster; this process watches."""
    from curation.cli.training_line import TrainingLine
    from jobs.training import train_on_ray
    from training.progress import Progress
    from training.recipe import read_recipe

    parsed = read_recipe(recipe, overrides)
    line = TrainingLine(Progress(parsed.loop.steps))
    try:
        end = train_on_ray(parsed, resume=resume, address=address, hear=line.hear, say=_say)
    finally:
        line.close()
    print_lines(end.lines())
    return end.exit_code


def _say(words: str) -> None:
    for line in words.splitlines():
        click.echo(printable(line), err=True)


_TORCHRUN_S = 5.0
"""Within this time torchrun passes on a Ctrl-C that a terminal gave to all processes at once."""


def _nothing(step: int) -> None:
    """Show no step: another process does."""


def _end(run: "Run", output: str) -> list[str]:
    return [
        f"{len(run.table):,} images of snapshot {run.snapshot[:12]}",
        f"checkpoints, figures and pictures: {output}",
        f"what it learnt, to look at: {output.rstrip('/')}/summary.html",
    ]


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
    from curation.errors import UsageError
    from curation.pixels import as_pillow
    from training.evaluate import contact_sheet, draw_pictures
    from training.run import default_device
    from training.trained import load_trained

    if not out.parent.is_dir() or out.suffix.lower() != ".png":
        message = f"{out}: expected a file that ends in .png, in a folder that is there"
        raise UsageError(message)
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
    print_lines([f"drawn with step {trained.step:,}, a picture for each prompt: {out}"])


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
