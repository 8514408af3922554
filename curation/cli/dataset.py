"""`longtail ls` and `longtail show`."""

from typing import TYPE_CHECKING, Any

import click

from curation.cli.console import print_json, print_lines, print_table, readable_bytes
from curation.cli.options import as_json, chosen_pipeline, dataset_url

if TYPE_CHECKING:
    from curation.inventory import Inventory


@click.command()
@dataset_url
@as_json
def ls(dataset: str, as_json: bool) -> None:
    """List what a dataset holds: shards, instances, snapshots, quarantine, bytes."""
    from curation.dataset import Dataset
    from curation.inventory import take_inventory
    from stages.registry import STAGES

    found = take_inventory(Dataset.open(dataset), STAGES)
    if as_json:
        print_json(found.to_json())
    else:
        _print_inventory(found)


def _print_inventory(found: "Inventory") -> None:
    shards = f"{found.num_shards:,} of {found.num_listed_shards:,} listed shards"
    size = readable_bytes(sum(found.num_bytes.values()))
    print_lines([found.url, f"{shards}, {found.num_rows:,} rows, {size}", ""])
    columns = ["instance", "stage", "kind", "fingerprint", "finished", "missing", "given up", "in"]
    rows = [
        (
            state.instance,
            state.stage,
            state.kind,
            state.fingerprint or "after its fit",
            f"{state.finished:,}",
            f"{state.missing:,}",
            len(state.quarantined),
            ", ".join(state.pipelines),
        )
        for state in found.instances
    ]
    if rows:
        print_table(columns, rows, right=("finished", "missing", "given up"))
    else:
        print_lines(["no pipeline was applied yet"])
    lines = [
        f"given up: {state.instance} {name}"
        for state in found.instances
        for name in state.quarantined
    ]
    if found.unused:
        lines.append(f"in no pipeline any more: {', '.join(found.unused)}")
    lines.append(f"snapshots: {', '.join(found.snapshots) or 'none'}")
    sizes = (f"{name} {readable_bytes(size)}" for name, size in found.num_bytes.items())
    lines.append(f"bytes: {', '.join(sizes)}")
    print_lines(["", *lines])


@click.command()
@dataset_url
@click.argument("table", required=False)
@chosen_pipeline
@as_json
def show(dataset: str, table: str | None, pipeline: str | None, as_json: bool) -> None:
    """Describe the tables of a dataset, or the columns of one TABLE, for use in SQL."""
    from curation.config import nearest
    from curation.dataset import Dataset
    from curation.errors import UsageError
    from curation.sql import describe, open_tables
    from stages.registry import STAGES

    tables = open_tables(Dataset.open(dataset), STAGES, pipeline).tables
    if table is not None and table not in tables:
        hint = nearest(table, list(tables))
        message = f"{dataset}: no table {table!r}{hint}; there are {', '.join(tables)}"
        raise UsageError(message)
    if table is None:
        content: list[dict[str, Any]] = [
            {"table": name, "columns": len(entry.schema), "holds": entry.doc}
            for name, entry in tables.items()
        ]
    else:
        content = describe(tables[table])
    if as_json:
        print_json(content)
    else:
        print_table(list(content[0]), [list(row.values()) for row in content], right=["columns"])
