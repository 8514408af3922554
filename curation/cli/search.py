"""`longtail search`."""

import uuid
from pathlib import Path
from typing import Any, Literal

import click

from curation.cli.console import print_json, print_lines, print_table
from curation.cli.options import as_json, chosen_pipeline, dataset_url


@click.command()
@dataset_url
@click.argument("text", required=False)
@click.option(
    "--image",
    type=click.Path(path_type=Path),
    help="A picture instead of TEXT; what looks like it is searched for.",
)
@click.option("--instance", help="Whose vectors to search, where several instances have some.")
@click.option(
    "-k",
    "limit",
    type=click.IntRange(min=1, max=100_000),
    default=20,
    show_default=True,
    help="How many images to find.",
)
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    show_default=True,
    help="Where the text or picture is embedded.",
)
@chosen_pipeline
@as_json
def search(
    dataset: str,
    text: str | None,
    image: Path | None,
    instance: str | None,
    limit: int,
    device: Literal["cpu", "cuda"],
    pipeline: str | None,
    as_json: bool,
) -> None:
    """Find the images that are nearest to words or to a picture.

    It searches the vectors of `embed`. Words need a model that reads them, such as
    `embed: {embedder: open_clip, ...}`. The search is exact: it looks at every vector, and equal
    scores go by image id.
    """
    from curation.dataset import Dataset
    from curation.errors import UsageError
    from curation.pipeline.stage import Execution
    from curation.search import search_by_image, search_by_text
    from stages.registry import STAGES

    if (text is None) == (image is None):
        message = 'expected what to search for: either words ("red bicycle at night") or --image'
        raise UsageError(message)
    how: dict[str, Any] = {
        "limit": limit,
        "instance": instance,
        "pipeline": pipeline,
        "execution": Execution(device),
    }
    if text is not None:
        found = search_by_text(Dataset.open(dataset), STAGES, text, **how)
    else:
        assert image is not None
        try:
            data = image.read_bytes()
        except OSError as error:
            message = f"--image {image}: cannot be read: {error.strerror or error}"
            raise UsageError(message) from error
        found = search_by_image(Dataset.open(dataset), STAGES, data, **how)
    if as_json:
        matches = [
            {
                "score": match.score,
                "image_id": str(uuid.UUID(bytes=match.image_id)),
                "source_name": match.source_name,
                "source_key": match.source_key,
                "shard": match.shard,
                "row": match.row,
            }
            for match in found.matches
        ]
        print_json(
            {
                "instance": found.instance,
                "vectors": found.num_vectors,
                "missing_shards": found.num_missing,
                "matches": matches,
            }
        )
        return
    rows = [
        (
            f"{match.score:.4f}",
            uuid.UUID(bytes=match.image_id),
            f"{match.source_name}:{match.source_key}",
            match.shard,
            match.row,
        )
        for match in found.matches
    ]
    columns = ["score", "image_id", "source", "shard", "row"]
    print_table(columns, rows, right=("score", "shard", "row"))
    lines = [f"{found.num_vectors:,} vectors of {found.instance} searched"]
    if found.num_missing:
        lines.append(f"{found.num_missing:,} shards have no vectors yet; run the pipeline again")
    print_lines(lines)
