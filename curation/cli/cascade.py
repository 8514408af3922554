"""`longtail cascade`."""

import click

from curation.cli.console import print_json, print_lines
from curation.cli.options import as_json, chosen_pipeline, dataset_url


@click.command()
@dataset_url
@click.argument("query")
@click.option("--threshold", required=True, type=float, help="T of the decision `score >= T`.")
@click.option(
    "--max-changed",
    type=float,
    default=0.005,
    show_default=True,
    help="Share of all images whose decision may differ from scoring every image.",
)
@click.option(
    "--confidence",
    type=float,
    default=0.95,
    show_default=True,
    help="Probability with which that holds.",
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Draws the halves of the sample."
)
@chosen_pipeline
@as_json
def cascade(
    dataset: str,
    query: str,
    threshold: float,
    max_changed: float,
    confidence: float,
    seed: int,
    pipeline: str | None,
    as_json: bool,
) -> None:
    """Find the band of scores in which a dearer scorer is worth its price.

    QUERY gives two columns, the cheap and the dear score of a random sample of images, which was
    scored whole. The band that is printed is for `after:` in a pipeline. For example:

    longtail cascade DATASET "SELECT aesthetic_score, big_score FROM rows" --threshold 40
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from curation.dataset import Dataset
    from curation.errors import UsageError
    from curation.sql import open_tables
    from stages.aesthetic.cascade import calibrate
    from stages.registry import STAGES

    tables = open_tables(Dataset.open(dataset), STAGES, pipeline)
    with tables.query(query) as result:
        scores = result.read()
    if len(scores.schema) != 2:
        message = f"QUERY gives {len(scores.schema)} columns; expected two: cheap and dear scores"
        raise UsageError(message)
    try:
        numbers = [pc.cast(column, "float64") for column in scores.columns]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        message = "QUERY gives something else than numbers; expected two columns of scores"
        raise UsageError(message) from error
    known = pc.and_(numbers[0].is_valid(), numbers[1].is_valid())
    cheap, dear = (column.filter(known).to_numpy() for column in numbers)
    found = calibrate(
        cheap, dear, threshold, max_changed=max_changed, confidence=confidence, seed=seed
    )
    if not as_json:
        print_lines(found.lines())
        return
    print_json(
        {
            "after": None if found.band is None else found.band.model_dump(exclude_none=True),
            "held_out": found.num_held_out,
            "skipped": found.num_skipped,
            "changed": found.num_changed,
            "max_changed": found.max_changed,
            "confidence": found.confidence,
        }
    )
