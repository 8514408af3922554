"""`longtail demo-corpus`."""

import sys
from pathlib import Path

import click


@click.command("demo-corpus")
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--images", type=click.IntRange(min=1), default=1000, show_default=True, help="How many."
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Another seed, another corpus."
)
def demo_corpus(out: Path, images: int, seed: int) -> None:
    """Draw a corpus of images with known answers into the folder OUT.

    It has a long-tailed set of subjects, planted duplicates and broken files.
    """
    from curation.demo import make_corpus

    def progress(done: int, total: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r{done:,} of {total:,} images", nl=done == total, err=True)

    make_corpus(out, images=images, seed=seed, progress=progress)
    click.echo(out)
