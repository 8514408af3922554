"""`longtail forget`."""

import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import click

from curation.cli.console import print_json, print_lines
from curation.cli.options import as_json, dataset_url

if TYPE_CHECKING:
    from curation.forget import Erased, Found

_NUM_LISTED = 20


@click.command()
@dataset_url
@click.argument("images", nargs=-1)
@click.option(
    "--from",
    "listed",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True),
    help="A file with one image a line; - for the standard input.",
)
@click.option(
    "--radius",
    type=click.IntRange(0, 31),
    default=0,
    show_default=True,
    help="Bits in which a pHash may differ and still mean the same picture.",
)
@click.option(
    "--everywhere",
    is_flag=True,
    help="Forget the content of images named by their id at every place, copies too.",
)
@click.option("--reason", default="", help="Why; kept with the tombstones.")
@click.option("--source", default="", help="Where the request came from, such as a ticket.")
@click.option("--purge", is_flag=True, help="Delete materialised tables that hold the images.")
@click.option("--yes", is_flag=True, help="Do it; without, only say what would be done.")
@as_json
def forget(
    dataset: str,
    images: tuple[str, ...],
    listed: Path | None,
    radius: int,
    everywhere: bool,
    reason: str,
    source: str,
    purge: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Forbid IMAGES for ever, and take out of DATASET what it keeps of them.

    An image is named by its image_id, by the SHA-256 of its content, or by a pHash. Files at their
    source are not touched.
    """
    from curation.dataset import Dataset
    from curation.errors import UsageError
    from curation.forget import erase, find, parse_request
    from stages.registry import STAGES

    names = [(f"argument {n}", name) for n, name in enumerate(images, start=1)]
    if listed is not None:
        with click.open_file(str(listed), encoding="utf-8", errors="replace") as file:
            names += [(f"{listed}, line {n}", line) for n, line in enumerate(file, start=1)]
    request = parse_request(names)
    if request.is_empty:
        message = "no image is named; give image_ids, SHA-256s or pHashes, or a file with --from"
        raise UsageError(message)
    if yes and not reason:
        message = "--yes without --reason: say why, it is kept with the tombstones"
        raise UsageError(message)
    opened = Dataset.open(dataset)
    found = find(opened, request, STAGES, radius=radius, everywhere=everywhere)
    done = erase(opened, found, reason, source, purge=purge) if yes else None
    if as_json:
        print_json(_to_json(found, done))
    else:
        _print_found(found, purge)
        _print_done(done)


def _to_json(found: "Found", done: "Erased | None") -> dict[str, object]:
    return {
        "done": done is not None,
        "rows": [
            {
                "image_id": str(uuid.UUID(bytes=row["image_id"])),
                "shard": row["shard"],
                "row": row["row"],
            }
            | {"source_uri": row["source_uri"]}
            for row in found.rows.to_pylist()
        ],
        "not_in_the_dataset": found.num_unknown,
        "copies_that_stay": found.num_copies,
        "tainted_snapshots": [
            {"snapshot": t.snapshot, "images": t.num_images, "pairs": t.num_pairs}
            | {"tables": list(t.materialized)}
            for t in found.taints
        ],
        "image_shards_rewritten": list(done.image_shards) if done else [],
        "stage_files_rewritten": list(done.stage_files) if done else [],
        "work_lists_rewritten": list(done.lists) if done else [],
        "snapshot_files_amended": list(done.snapshot_files) if done else [],
        "purged": list(done.purged) if done else [],
    }


def _print_found(found: "Found", purge: bool) -> None:
    rows = found.rows.to_pylist()
    lines = [f"{len(rows):,} rows in {len(found.shards):,} shards"]
    lines += [
        f"  {uuid.UUID(bytes=row['image_id'])}  {row['source_uri']}" for row in rows[:_NUM_LISTED]
    ]
    if len(rows) > _NUM_LISTED:
        lines.append(f"  and {len(rows) - _NUM_LISTED:,} more; --json lists all")
    if found.num_unknown:
        lines.append(f"{found.num_unknown:,} named images are not here; ingest will refuse them")
    if found.num_copies:
        lines.append(
            f"{found.num_copies:,} more rows have the same content and stay; "
            "--everywhere forgets them too"
        )
    for taint in found.taints:
        if taint.num_images:
            lines.append(
                f"snapshot {taint.snapshot} keeps {taint.num_images:,} of them: what was trained "
                "on it has seen them; make a new one"
            )
        if taint.num_pairs:
            lines.append(
                f"snapshot {taint.snapshot} names them in {taint.num_pairs:,} pairs of preferred "
                "images, whose prompts are taken out"
            )
        verb = "is deleted" if purge else "holds them; --purge deletes it"
        lines += [f"  {folder} {verb}" for folder in taint.materialized]
    print_lines(lines)


def _print_done(done: "Erased | None") -> None:
    if done is None:
        print_lines(["nothing was changed; add --yes --reason WHY to forget them"])
        return
    shards, files, lists = len(done.image_shards), len(done.stage_files), len(done.lists)
    lines = [
        f"forgotten: {done.num_rows:,} rows",
        f"written anew: {shards:,} image shards, {files:,} files of stages, {lists:,} work lists",
    ]
    if done.snapshot_files:
        lines.append(
            f"captions and prompts were taken out of {len(done.snapshot_files):,} files of "
            "snapshots, on the record; their ids stay"
        )
    if done.purged:
        lines.append(f"{len(done.purged):,} tables with bytes were deleted")
    lines.append("files at their source are as they were; fitted models keep what they learned")
    print_lines(lines)
