"""`longtail train-summary`."""

import click

from curation.cli.console import print_lines


@click.command("train-summary")
@click.argument("output")
def train_summary(output: str) -> None:
    """Write `summary.html` into OUTPUT, the output of a run: curves, pictures, checkpoints.

    A run writes it itself at every evaluation and when it ends; this is for one that was killed, or
    to look at one between two evaluations.
    """
    from curation.storage import Store
    from training.summary import SUMMARY, write_summary

    store = Store(output)
    write_summary(store)
    print_lines([store.uri(SUMMARY)])
