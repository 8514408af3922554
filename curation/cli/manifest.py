"""Snapshots and what differs between two of them, for people."""

import uuid
from typing import TYPE_CHECKING, Any

from curation.cli.console import print_lines, print_table

if TYPE_CHECKING:
    import pyarrow as pa

    from curation.snapshot.diff import SnapshotDiff
    from curation.snapshot.manifest import PairCounts, SnapshotManifest

_NUM_LISTED = 20


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
    if manifest.preferences is not None:
        _print_pairs(manifest.preferences)


def _print_pairs(pairs: "PairCounts") -> None:
    """Print where every pair of a table of preferences went."""
    counts = [("out", reason, count) for reason, count in pairs.excluded.items()]
    counts += [("kept", split, count) for split, count in pairs.splits.items()]
    counts += [("source", name or "not said", count) for name, count in pairs.sources.items()]
    print_lines([f"{pairs.pairs:,} pairs of preferred images, {pairs.kept:,} kept"])
    shown = [(group, name, f"{count:,}") for group, name, count in counts if count]
    print_table(["pairs", "why", "count"], shown, right=["count"])


def moved_json(moved: "pa.Table | None") -> list[dict[str, Any]] | None:
    """Return images that moved to another split, for `--json`; null where that was not asked."""
    if moved is None:
        return None
    return [{**row, "image_id": str(uuid.UUID(bytes=row["image_id"]))} for row in moved.to_pylist()]


def print_moved(moved: "pa.Table | None") -> None:
    """Print images that moved to another split, or the first of them."""
    if moved is None:
        return
    if not len(moved):
        print_lines(["no image moved to another split"])
        return
    rows = moved_json(moved.slice(0, _NUM_LISTED)) or []
    print_table(
        ["moved image", "from", "to"], [(r["image_id"], r["before"], r["after"]) for r in rows]
    )
    if len(moved) > _NUM_LISTED:
        print_lines([f"and {len(moved) - _NUM_LISTED:,} more; --json lists all"])


def diff_json(diff: "SnapshotDiff") -> dict[str, Any]:
    """Return a comparison for `--json`."""
    pairs = diff.pairs
    return {
        "before": diff.before,
        "after": diff.after,
        "gained": diff.num_gained,
        "lost": diff.num_lost,
        "reason_changed": diff.num_reason_changed,
        "repeat_changed": diff.num_repeat_changed,
        "split_changed": diff.num_split_changed,
        "changes": [
            {"before": before, "after": after, "rows": count}
            for (before, after), count in diff.changes.items()
        ],
        "pairs": pairs
        and {
            "gained": pairs.num_gained,
            "lost": pairs.num_lost,
            "split_changed": pairs.num_split_changed,
        },
    }


def print_diff(diff: "SnapshotDiff") -> None:
    """Print a comparison."""
    print_lines(
        [
            f"{diff.before} -> {diff.after}",
            f"{diff.num_gained:,} rows gained, {diff.num_lost:,} lost",
            f"{diff.num_reason_changed:,} out for another reason",
            f"{diff.num_repeat_changed:,} kept with another repeat",
            f"{diff.num_split_changed:,} kept in another split",
        ]
    )
    if diff.pairs is not None:
        gained, lost, moved = (
            f"{count:,}"
            for count in (
                diff.pairs.num_gained,
                diff.pairs.num_lost,
                diff.pairs.num_split_changed,
            )
        )
        print_lines([f"{gained} pairs gained, {lost} lost, {moved} kept in another split"])
    rows = [(before, after, f"{count:,}") for (before, after), count in diff.changes.items()]
    if rows:
        print_table(["before", "after", "rows"], rows, right=["rows"])
