"""`longtail report`."""

from pathlib import Path

import click

from curation.cli.options import dataset_url


@click.command()
@dataset_url
@click.option("--snapshot", metavar="ID", help="Beginning of a snapshot's id; the latest if left.")
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="HTML file to write; it needs no server and no network.",
)
def report(dataset: str, snapshot: str | None, output: Path) -> None:
    """Write what a dataset or a snapshot holds, keeps and leaves out, as one HTML file.

    A dataset that has no snapshot yet is shown without decisions.
    """
    from curation.cli.formats import outside_datasets
    from curation.dataset import Dataset
    from curation.report import write_report
    from stages.registry import STAGES

    write_report(Dataset.open(dataset), snapshot, outside_datasets(output), STAGES)
    click.echo(output)
