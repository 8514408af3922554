"""`longtail demo-train`: a tiny model on the demo's snapshot, and whether it learnt anything."""

import time
from pathlib import Path

import click

from curation.cli.console import print_lines, print_table

MOST = 0.5
"""Samples must be at most this far from held-out pictures, beside pictures of shuffled pixels."""


@click.command("demo-train")
@click.argument("recipe", type=click.Path(path_type=Path, exists=True))
def demo_train(recipe: Path) -> int:
    """Train as RECIPE says, go on where it was stopped, and judge what came out.

    Held-out loss must have fallen; and pictures drawn for held-out captions must be nearer to
    held-out pictures, in layout and colour, than half of the way of pictures with shuffled pixels.
    """
    import torch

    from curation.config import read_text
    from curation.pixels import as_pillow
    from training.evaluate import contact_sheet, draw_pictures
    from training.journal import read_journal
    from training.quality import low_pass, shuffled_pixels, sliced_wasserstein
    from training.recipe import parse_recipe
    from training.run import train
    from training.trained import load_trained

    began = time.monotonic()
    parsed = parse_recipe(read_text(recipe), str(recipe))

    def on_step(step: int) -> None:
        if step % parsed.loop.log_every == 0 or step == parsed.loop.steps:
            click.echo(f"\rstep {step:,} of {parsed.loop.steps:,}", nl=False, err=True)

    run = train(parsed, resume=True, on_step=on_step)
    click.echo("", err=True)
    folder = Path(parsed.output)
    losses = [line["held_out/loss"] for line in read_journal(folder) if "held_out/loss" in line]
    trained = load_trained(parsed.output, run.device)
    square = [n for n in range(len(run.held_out)) if run.held_out.aspect[n] == 0]
    real = torch.from_numpy(run.pictures(run.held_out, square))
    captions = run.held_out.captions.to_pylist()
    prompts = [captions[n][-1]["text"] if captions[n] else "" for n in square]
    drawn_array = draw_pictures(
        trained.model,
        trained.codec,
        trained.texts,
        parsed.evaluation,
        prompts,
        size=trained.square,
        device=run.device,
    )
    as_pillow(contact_sheet(drawn_array)).save(folder / "drawn.png")
    as_pillow(contact_sheet(real.numpy())).save(folder / "held-out.png")
    drawn = torch.from_numpy(drawn_array)
    distance, baseline = (
        sliced_wasserstein(low_pass(pictures), low_pass(real))
        for pictures in (drawn, shuffled_pixels(real))
    )
    fell = losses[-1] < losses[0]
    rows = [
        ("held-out loss, first and last", f"{losses[0]:.3f}", f"{losses[-1]:.3f}", _word(fell)),
        (
            "distance to held-out pictures, and of shuffled pixels",
            f"{distance:.4f}",
            f"{baseline:.4f}",
            _word(distance <= MOST * baseline),
        ),
    ]
    print_table(["", "", "", ""], rows)
    print_lines(
        [
            f"done in {time.monotonic() - began:.0f} s",
            f"drawn for {len(square)} held-out captions  {folder}/drawn.png",
            f"the pictures themselves           {folder}/held-out.png",
            f"longtail generate {parsed.output} --prompt 'A square picture in red.' --out red.png",
        ]
    )
    return 0 if fell and distance <= MOST * baseline else 1


def _word(is_good: bool) -> str:
    return "good" if is_good else "not good enough"
