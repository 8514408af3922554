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
