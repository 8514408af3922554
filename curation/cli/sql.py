"""`longtail sql`."""

from pathlib import Path

import click

from curation.cli.options import chosen_pipeline, dataset_url

FORMATS = ("table", "csv", "json", "parquet")
TABLE_ROWS = 100
"""Rows that a table on the terminal shows."""


@click.command()
@dataset_url
@click.argument("query")
@chosen_pipeline
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="How the result is written; by default what the name of --output says, else a table.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write, outside every dataset.",
)
def sql(
    dataset: str, query: str, pipeline: str | None, form: str | None, output: Path | None
) -> None:
    """Ask a dataset one SELECT or EXPLAIN; nothing can be changed.

    `longtail show DATASET` lists the tables. For example:

    longtail sql DATASET "SELECT count(*) FROM rows WHERE aesthetic_score > 52"
    """
    from curation.cli.formats import choose_format, print_result, write_result
    from curation.dataset import Dataset
    from curation.sql import open_tables
    from stages.registry import STAGES

    form = choose_format(form, output, FORMATS)
    tables = open_tables(Dataset.open(dataset), STAGES, pipeline)
    with tables.query(query) as result:
        if output is None:
            print_result(result, form, TABLE_ROWS)
        else:
            write_result(result, form, output)
