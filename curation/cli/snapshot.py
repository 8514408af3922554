"""`longtail snapshot`: create, list, show, diff, verify, materialize."""

from pathlib import Path

import click

from curation.cli.console import print_json, print_lines, print_table
from curation.cli.options import as_json, dataset_url, overrides, pipeline_file, preferences

snapshot_id = click.argument("snapshot", metavar="ID")


@click.group()
def snapshot() -> None:
    """Decide which images are in, and keep the decision for ever."""


@snapshot.command()
@pipeline_file
@overrides
@click.option(
    "--allow-pending",
    is_flag=True,
    help="Leave rows out whose shards some stage has not finished, instead of refusing.",
)
@click.option("--previous", metavar="ID", help="List the images whose split differs from there.")
@click.option("--hold-split", is_flag=True, help="Leave those images out (needs --previous).")
@preferences
@as_json
def create(
    pipeline: Path,
    overrides: tuple[str, ...],
    allow_pending: bool,
    previous: str | None,
    hold_split: bool,
    preferences: str | None,
    as_json: bool,
) -> None:
    """Make a snapshot as the `snapshot:` section of PIPELINE says.

    The same content has the same id, wherever and whenever it is made.
    """
    from curation.cli.manifest import moved_json, print_manifest, print_moved
    from jobs.snapshot import code_version, create_snapshot

    made = create_snapshot(
        pipeline,
        overrides,
        allow_pending=allow_pending,
        previous=previous,
        hold_split=hold_split,
        preferences=preferences,
        code_version=code_version(),
    )
    if as_json:
        moved = {} if made.moved is None else {"moved": moved_json(made.moved)}
        print_json({"new": made.is_new, **moved, **made.manifest.model_dump(mode="json")})
        return
    print_lines([] if made.is_new else ["this snapshot was there already"])
    print_manifest(made.manifest)
    print_moved(made.moved)


@snapshot.command("list")
@dataset_url
@as_json
def list_all(dataset: str, as_json: bool) -> None:
    """List the snapshots of a dataset."""
    from curation.dataset import Dataset
    from curation.snapshot.read import list_snapshots

    found = list_snapshots(Dataset.open(dataset))
    if as_json:
        print_json([manifest.model_dump(mode="json") for manifest in found])
        return
    rows = [
        (
            manifest.id,
            manifest.created_at,
            manifest.pipeline,
            f"{manifest.conservation.images:,}",
            f"{manifest.conservation.kept:,}",
        )
        for manifest in found
    ]
    print_table(["id", "created", "pipeline", "rows", "kept"], rows, right=("rows", "kept"))


@snapshot.command()
@dataset_url
@snapshot_id
@as_json
def show(dataset: str, snapshot: str, as_json: bool) -> None:
    """Show what a snapshot keeps, and why the rest is out.

    ID may be the beginning of an id.
    """
    from curation.cli.manifest import print_manifest
    from curation.dataset import Dataset
    from curation.snapshot.read import find_snapshot, read_manifest

    opened = Dataset.open(dataset)
    manifest = read_manifest(opened, find_snapshot(opened, snapshot))
    if as_json:
        print_json(manifest.model_dump(mode="json"))
    else:
        print_manifest(manifest)


@snapshot.command()
@dataset_url
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@as_json
def diff(dataset: str, old: str, new: str, as_json: bool) -> None:
    """Compare two snapshots: what came in, what went out, and for which reason."""
    from curation.cli.manifest import diff_json, print_diff
    from curation.dataset import Dataset
    from curation.snapshot.diff import diff_snapshots

    found = diff_snapshots(Dataset.open(dataset), old, new)
    if as_json:
        print_json(diff_json(found))
    else:
        print_diff(found)


@snapshot.command()
@dataset_url
@snapshot_id
def verify(dataset: str, snapshot: str) -> int:
    """Check that a snapshot's files are whole.

    The exit code is 1 where one is not.
    """
    from curation.dataset import Dataset
    from curation.snapshot.read import find_snapshot
    from curation.snapshot.verify import amendment_notes, verify_snapshot

    opened = Dataset.open(dataset)
    chosen = find_snapshot(opened, snapshot)
    faults = verify_snapshot(opened, chosen)
    notes = amendment_notes(opened, chosen)
    said = "the manifest and its amendments say" if notes else "the manifest says"
    print_lines([*notes, *(faults or [f"snapshot {chosen}: every file is what {said}"])])
    return 1 if faults else 0


@snapshot.command()
@dataset_url
@snapshot_id
@as_json
def materialize(dataset: str, snapshot: str, as_json: bool) -> None:
    """Write the kept images with their bytes, grouped by bucket, for training.

    Buckets and sizes are those of the pipeline that made the snapshot.
    """
    from curation.dataset import Dataset
    from curation.ingest.load import reading_protocols
    from curation.inventory import applied_pipelines
    from curation.snapshot.config import MaterializeConfig
    from curation.snapshot.materialize import materialize_snapshot
    from curation.snapshot.read import find_snapshot, read_manifest

    opened = Dataset.open(dataset)
    chosen = find_snapshot(opened, snapshot)
    pipeline = applied_pipelines(opened).get(read_manifest(opened, chosen).pipeline)
    config = pipeline.snapshot.materialize if pipeline else MaterializeConfig()
    protocols = reading_protocols(pipeline.source if pipeline else None)
    made = materialize_snapshot(opened, chosen, config, protocols)
    if as_json:
        print_json(made.model_dump(mode="json"))
        return
    print_lines([f"snapshots/{chosen}/materialized/{made.digest}: {len(made.files):,} files"])
    rows = [(bucket, f"{count:,}") for bucket, count in made.buckets.items()]
    print_table(["bucket", "images"], rows, right=["images"])
