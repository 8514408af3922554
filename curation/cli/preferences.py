"""`longtail preferences`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from curation.cli.console import print_lines
from curation.cli.options import dataset_url

if TYPE_CHECKING:
    import pyarrow as pa


@click.group()
def preferences() -> None:
    """Make tables of preferences, for `snapshot create --preferences`."""


@preferences.command("from-scores")
@dataset_url
@click.argument("snapshot", metavar="ID")
@click.option(
    "--output",
    "-o",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The table: a .parquet, .jsonl or .csv file.",
)
@click.option(
    "--by",
    default="short",
    show_default=True,
    help="Kind of caption that images must share, which is the prompt then; or category.",
)
@click.option(
    "--max-pairs", type=click.IntRange(min=1), default=4, show_default=True, help="Of a prompt."
)
@click.option(
    "--min-margin",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    help="Least difference of scores.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Draws the pairs.")
def from_scores(
    dataset: str,
    snapshot: str,
    output: Path,
    by: str,
    max_pairs: int,
    min_margin: float,
    seed: int,
) -> None:
    """Prefer the image with the higher aesthetic score among those that share a prompt.

    The images are those that snapshot ID keeps. These are the scorer's preferences and no person's.
    """
    from curation.dataset import Dataset
    from curation.snapshot.score_pairs import score_pairs

    found = score_pairs(
        Dataset.open(dataset),
        snapshot,
        by=by,
        max_pairs=max_pairs,
        min_margin=min_margin,
        seed=seed,
    )
    _write(found, output)
    prompts = len(set(found["prompt"].to_pylist()))
    counts = f"{len(found):,} pairs for {prompts:,} prompts"
    print_lines([f"{output}: {counts}, by aesthetic score: a scorer's preferences, no person's"])


def _write(pairs: "pa.Table", output: Path) -> None:
    """Write a table by the ending of its name, whole or not at all."""
    import csv
    import io
    import json

    import pyarrow as pa
    import pyarrow.parquet as pq

    from curation.cli.formats import outside_datasets
    from curation.errors import UsageError
    from curation.storage import Store

    target = outside_datasets(output)
    ending = target.suffix.lower()
    rows = pairs.to_pylist()
    if ending == ".parquet":
        sink = pa.BufferOutputStream()
        pq.write_table(pairs, sink, compression="zstd")
        data = sink.getvalue().to_pybytes()
    elif ending == ".jsonl":
        data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    elif ending == ".csv":
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, pairs.column_names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        data = text.getvalue().encode()
    else:
        message = f"--output {output}: the format is not known; expected .parquet, .jsonl or .csv"
        raise UsageError(message)
    Store(str(target.parent)).put(target.name, data)
