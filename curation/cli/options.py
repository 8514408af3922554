"""Arguments and options that several commands share."""

from pathlib import Path

import click

pipeline_file = click.argument("pipeline", type=click.Path(path_type=Path))
dataset_url = click.argument("dataset")
overrides = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    help="Set one key of the pipeline, as in stages.dedup.radius=6; may be repeated.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
chosen_pipeline = click.option(
    "--pipeline", help="Whose instances to show, where several pipelines were applied."
)
preferences = click.option(
    "--preferences",
    metavar="TABLE",
    help="Keep pairs of images of which one is preferred, too: a JSONL, CSV, TSV or Parquet file, "
    "or a folder of Parquet, with the columns prompt, winner and loser.",
)
