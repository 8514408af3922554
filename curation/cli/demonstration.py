"""`longtail demo`: a corpus, a pipeline, a snapshot, a report, and five questions in SQL.

Leaves `images/` (unless a folder of yours is named), `pipeline.yaml`, `dataset/` and `report.html`
below the output folder. Run again, it takes up where it was.
"""

import shutil
import time
from pathlib import Path

import click

from curation.cli.console import print_lines

CORPUS_IMAGES = 2000
CORPUS_SEED = 7

QUESTIONS = (
    (
        "Why is an image out, and how many are?",
        (
            "SELECT coalesce(reason, 'kept') AS reason, count(*) AS images FROM decisions "
            "WHERE snapshot_id = '{snapshot}' GROUP BY 1 ORDER BY 2 DESC"
        ),
    ),
    (
        "What would a threshold of 52 instead of 40 keep?",
        (
            "SELECT count(*) FILTER (aesthetic_score >= 40) AS at_40, "
            "count(*) FILTER (aesthetic_score >= 52) AS at_52 FROM rows"
        ),
    ),
    (
        "Which categories are the long tail, and what did sampling do to them?",
        (
            "SELECT category_path, count(*) AS images, sum(CAST(kept AS INT)) AS kept, "
            "sum(repeat) AS draws FROM decisions WHERE snapshot_id = '{snapshot}' "
            "AND category_path IS NOT NULL GROUP BY 1 ORDER BY 2 LIMIT 8"
        ),
    ),
    (
        "Which are the largest groups of duplicates?",
        (
            "SELECT dedup_group, count(*) AS images, max(dedup_distance) AS farthest, "
            "min(source_key) AS one_of_them FROM rows GROUP BY 1 HAVING count(*) > 1 "
            "ORDER BY 2 DESC, 1 LIMIT 5"
        ),
    ),
    (
        "Which files were no good, and why?",
        (
            "SELECT split_part(inspect_error, ':', 1) AS code, count(*) AS files, "
            "min(source_key) AS for_example FROM rows WHERE inspect_error IS NOT NULL "
            "GROUP BY 1 ORDER BY 2 DESC, 1"
        ),
    ),
)
"""Each with the question that it answers; `{snapshot}` is the id just made."""


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo"),
    show_default=True,
    help="Folder for everything that it makes.",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder of your own images, instead of a corpus drawn for the purpose.",
)
@click.option(
    "--runner",
    type=click.Choice(["ray", "local"]),
    default="ray",
    show_default=True,
    help="Run on Ray, or in processes of this machine without it.",
)
def demo(out: Path, images: Path | None, runner: str) -> int:
    """Curate a corpus from files to a snapshot, and ask it five questions."""
    from curation.cli.formats import print_result
    from curation.cli.manifest import print_manifest
    from curation.cli.progress import watched
    from curation.dataset import Dataset
    from curation.report import write_report
    from curation.sql import open_tables
    from jobs.sessions import curate
    from jobs.snapshot import code_version, create_snapshot
    from stages.registry import STAGES

    began = time.monotonic()
    source = make_images(out) if images is None else images.resolve()
    pipeline = write_pipeline(out, source)
    with watched() as on_event:
        summary = curate(pipeline, runner=runner, on_event=on_event)
    print_lines(summary.lines())
    made = create_snapshot(pipeline, code_version=code_version(), allow_pending=True)
    dataset = Dataset.open(str(out / "dataset"))
    write_report(dataset, made.manifest.id, out / "report.html", STAGES)
    print_lines([""])
    print_manifest(made.manifest)
    for question, query in QUESTIONS:
        text = query.format(snapshot=made.manifest.id)
        print_lines(["", question, f'  longtail sql {out}/dataset "{text}"'])
        with open_tables(dataset, STAGES).query(text) as result:
            print_result(result, "table", 20)
    print_lines(
        [
            f"done in {time.monotonic() - began:.0f} s",
            "",
            f"snapshot  {made.manifest.id}",
            f"report    {out}/report.html",
            f"pipeline  {pipeline}",
            "",
            "What to try next:",
            f"  change a threshold in {pipeline}, then: longtail snapshot create {pipeline}",
            f"  compare the two: longtail snapshot diff {out}/dataset OLD NEW",
            (
                f"  see what a changed stage would recompute: longtail plan {pipeline} "
                "--set 'stages.categorize.branching=[6,4]'"
            ),
            f"  read what each column means: longtail show {out}/dataset inspect",
            "  your own pictures: make demo IMAGES=/some/folder",
        ]
    )
    return summary.exit_code


def make_images(out: Path) -> Path:
    """Draw the demo corpus unless it is there; return the folder of its images."""
    from curation.demo import make_corpus

    images = out / "images"
    if not (out / "truth.parquet").exists():
        print_lines([f"drawing {CORPUS_IMAGES:,} images into {images}"])
        unfinished = out / ".corpus"
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(images, ignore_errors=True)
        make_corpus(unfinished, images=CORPUS_IMAGES, seed=CORPUS_SEED)
        # The truth last: it says that the images are complete.
        for name in ("images", "pairs.parquet", "truth.parquet"):
            (unfinished / name).rename(out / name)
        shutil.rmtree(unfinished)
    return images.resolve()


def write_pipeline(out: Path, source: Path) -> Path:
    """Write the demo's pipeline for a folder of images; keep one that was changed by hand."""
    path = out / "pipeline.yaml"
    if not path.exists():
        out.mkdir(parents=True, exist_ok=True)
        from importlib import resources  # loads the package, which `--help` shall not

        text = (resources.files("curation.demo") / "pipeline.yaml").read_text()
        text = text.replace("{dataset}", str((out / "dataset").resolve()))
        path.write_text(text.replace("{images}", str(source)))
    return path
