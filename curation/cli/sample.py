"""`longtail sample`."""

from pathlib import Path

import click

from curation.cli.console import print_json, print_table
from curation.cli.options import as_json, overrides, pipeline_file, preferences


@click.group()
def sample() -> None:
    """Look at what hierarchical sampling would do."""


@sample.command()
@pipeline_file
@overrides
@click.option(
    "--allow-pending",
    is_flag=True,
    help="Leave rows out whose shards some stage has not finished, instead of refusing.",
)
@preferences
@as_json
def preview(
    pipeline: Path,
    overrides: tuple[str, ...],
    allow_pending: bool,
    preferences: str | None,
    as_json: bool,
) -> None:
    """Decide as `snapshot create` would, and write nothing."""
    from curation.cli.manifest import print_manifest
    from jobs.snapshot import preview_snapshot

    manifest = preview_snapshot(
        pipeline, overrides, allow_pending=allow_pending, preferences=preferences
    )
    if as_json:
        print_json(manifest.model_dump(mode="json"))
        return
    print_manifest(manifest)
    rows = [
        (path or "all", f"{c.before:,}", f"{c.kept:,}", f"{c.draws:,}")
        for path, c in manifest.categories.items()
    ]
    if rows:
        columns = ["category", "before", "kept", "draws"]
        print_table(columns, rows, right=columns[1:])
