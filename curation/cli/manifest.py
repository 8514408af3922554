"""A snapshot's manifest, for people."""

from typing import TYPE_CHECKING

from curation.cli.console import print_lines, print_table

if TYPE_CHECKING:
    from curation.snapshot.manifest import SnapshotManifest


def print_manifest(manifest: "SnapshotManifest") -> None:
    """Print where every row of a snapshot went."""
    rows = manifest.conservation
    print_lines(
        [
            f"snapshot {manifest.id}, made {manifest.created_at} by {manifest.pipeline}",
            f"{rows.images:,} rows, {rows.kept:,} kept, {manifest.num_draws:,} draws an epoch",
        ]
    )
    if manifest.num_missing:
        print_lines([f"{manifest.num_missing:,} draws asked for that the candidates lack"])
    if manifest.previous:
        print_lines([f"{manifest.num_moved:,} images moved to another split since then"])
    counts = [("out", reason, count) for reason, count in manifest.reasons.items()]
    counts += [("kept", split, count) for split, count in manifest.splits.items()]
    shown = [(group, name, f"{count:,}") for group, name, count in counts if count]
    if shown:
        print_table(["rows", "why", "count"], shown, right=["count"])
