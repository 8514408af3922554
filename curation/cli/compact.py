"""`longtail compact`."""

import click

from curation.cli.console import print_json, print_lines, print_table, readable_bytes
from curation.cli.options import as_json, dataset_url


@click.command()
@dataset_url
@click.option("--yes", is_flag=True, help="Do it; without, only say what would be compacted.")
@as_json
def compact(dataset: str, yes: bool, as_json: bool) -> None:
    """Put each finished group of 1,000 shards of a stage of DATASET into one file.

    Answers stay the same. Images are left as they are.
    """
    from curation.compact import compact_group, find_groups
    from curation.dataset import Dataset

    opened = Dataset.open(dataset)
    groups = find_groups(opened)
    left = [compact_group(opened, group) if yes else None for group in groups]
    total = sum(len(g.files) for g, why in zip(groups, left, strict=True) if why is None)
    if as_json:
        entries = [
            {"path": g.path, "files": len(g.files), "bytes": g.num_bytes, "left": why}
            for g, why in zip(groups, left, strict=True)
        ]
        print_json({"compacted": yes, "files": total, "groups": entries})
        return
    if not groups:
        print_lines(["nothing to compact: no group of a stage is finished and in many files"])
        return
    rows = [
        (g.path, f"{len(g.files):,}", readable_bytes(g.num_bytes), why)
        for g, why in zip(groups, left, strict=True)
    ]
    print_table(["path", "files", "size", "left"], rows, right=("files", "size"))
    number = sum(why is None for why in left)
    done = f"{total:,} files became {number:,}"
    would = f"{total:,} files would become {number:,}; nothing was changed, add --yes to do it"
    print_lines([done if yes else would])
