"""`longtail plan` and `longtail run`."""

from pathlib import Path

import click

from curation.cli.console import print_json, print_lines, print_table, readable_bytes
from curation.cli.options import as_json, overrides, pipeline_file
from curation.cli.progress import watched


@click.command()
@pipeline_file
@overrides
@as_json
def plan(pipeline: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Say what a run would do now, and why; nothing is started.

    PIPELINE is a YAML file.
    """
    from curation.pipeline.costs import cost_line
    from jobs.sessions import plan_pipeline

    found, exists = plan_pipeline(pipeline, overrides)
    content = {"dataset_exists": exists, **found.to_json()}
    if as_json:
        print_json(content)
        return
    columns = ["instance", "state", "shards", "rows", "given up", "blocked", "fingerprint", "why"]
    rows = [
        (
            step["instance"],
            step["state"],
            f"{step['shards']:,}",
            f"{step['rows']:,}",
            len(step["quarantined"]),
            len(step["blocked"]),
            step["fingerprint"],
            step["why"],
        )
        for step in content["steps"]
    ]
    print_table(columns, rows, right=("shards", "rows", "given up", "blocked"))
    for step in found.steps:
        if step.cost is not None:
            print_lines([cost_line(step)])
    size = readable_bytes(content["bytes"])
    if exists:
        print_lines([f"{content['tasks']:,} tasks in the next wave, {size} of images to read"])
    else:
        print_lines(["there is no dataset yet: a run makes it, and lists the source first"])


@click.command()
@pipeline_file
@click.option(
    "--runner",
    type=click.Choice(["ray", "local"]),
    default="ray",
    show_default=True,
    help="Where it runs: on a Ray cluster, or in child processes of this one.",
)
@click.option(
    "--workers", type=click.IntRange(min=1), help="Workers for the CPU stages; one a core if left."
)
@overrides
@click.option("--retry-transient", is_flag=True, help="Try rows with passing errors again.")
@click.option("--retry-quarantined", is_flag=True, help="Try shards that were given up again.")
@click.option("--address", help="Address of the Ray cluster; a local one is started if left.")
@as_json
def run(
    pipeline: Path,
    runner: str,
    workers: int | None,
    overrides: tuple[str, ...],
    retry_transient: bool,
    retry_quarantined: bool,
    address: str | None,
    as_json: bool,
) -> int:
    """Bring a dataset up to date with a pipeline file.

    What is there is skipped, so the same command resumes a run that was stopped. The exit code is
    1 when something was given up.
    """
    from jobs.sessions import curate

    with watched() as on_event:
        summary = curate(
            pipeline,
            overrides,
            runner=runner,
            workers=workers,
            retry_quarantined=retry_quarantined,
            retry_transient=retry_transient,
            address=address,
            on_event=on_event,
        )
    if as_json:
        print_json(summary.to_json())
    else:
        print_lines(summary.lines())
    return summary.exit_code
