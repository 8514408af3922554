"""`longtail gc`."""

import click

from curation.cli.console import print_json, print_lines, print_table, readable_bytes
from curation.cli.options import as_json, dataset_url


@click.command()
@dataset_url
@click.option(
    "--grace-days",
    type=click.FloatRange(min=0),
    default=7.0,
    show_default=True,
    help="Leave alone what was written since; a run may be at work on it.",
)
@click.option("--yes", is_flag=True, help="Delete it; without, only say what would be deleted.")
@as_json
def gc(dataset: str, grace_days: float, yes: bool, as_json: bool) -> None:
    """Delete what no pipeline and no snapshot of DATASET refers to any more."""
    import datetime as dt

    from curation.dataset import Dataset
    from curation.garbage import delete_garbage, find_garbage
    from stages.registry import STAGES

    opened = Dataset.open(dataset)
    grace = dt.timedelta(days=grace_days)
    found = find_garbage(opened, STAGES, grace, dt.datetime.now(dt.UTC))
    deleted = delete_garbage(opened, STAGES, found) if yes else []
    num_left = len(found) - len(deleted) if yes else 0
    if yes:
        found = deleted
    total = sum(garbage.num_bytes for garbage in found)
    if as_json:
        entries = [
            {"path": g.path, "why": g.why, "files": len(g.files), "bytes": g.num_bytes}
            | {"newest": g.newest.isoformat()}
            for g in found
        ]
        print_json({"deleted": yes, "bytes": total, "garbage": entries})
        return
    if num_left:
        print_lines([f"{num_left:,} were left: written or referred to since they were found"])
    if not found:
        if num_left:
            return
        print_lines([f"nothing to delete that is older than {grace_days:g} days"])
        return
    rows = [
        (g.path, g.why, f"{len(g.files):,}", readable_bytes(g.num_bytes), f"{g.newest:%Y-%m-%d}")
        for g in found
    ]
    print_table(["path", "why", "files", "size", "newest"], rows, right=("files", "size"))
    size = readable_bytes(total)
    print_lines([f"deleted {size}" if yes else f"{size}; nothing was deleted, add --yes to do it"])
