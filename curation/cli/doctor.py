"""`longtail doctor`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from curation.cli.console import print_json, print_table
from curation.cli.options import as_json, overrides

if TYPE_CHECKING:
    from curation.doctor import Check


@click.command()
@click.argument("pipeline", type=click.Path(path_type=Path), required=False)
@overrides
@click.option("--store", "stores", multiple=True, metavar="URL", help="Try this folder or prefix.")
@click.option("--load", is_flag=True, help="Load the models too, where they would run here.")
@as_json
def doctor(
    pipeline: Path | None,
    overrides: tuple[str, ...],
    stores: tuple[str, ...],
    load: bool,
    as_json: bool,
) -> int:
    """Look at what is here, and at what PIPELINE would need, before anything is run.

    For each stage: its backend and where it would run, weights, packages and servers, and the
    command that gets what is missing. Exit code 1 where something must be mended.
    """
    from dataclasses import asdict

    from curation.doctor import check_machine, check_packages, check_pipeline, check_store
    from jobs.sessions import read_pipeline
    from stages.registry import STAGES

    checks = [*check_machine(), *check_packages()]
    for url in stores:
        checks += check_store(url)
    if pipeline is not None:
        config = read_pipeline(pipeline, overrides)
        checks += check_pipeline(config, STAGES, str(pipeline), load=load)
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        rows = [(c.state, c.subject, _words(c)) for c in checks]
        column = "found -> what to do"
        print_table(["", "looked at", column], rows, whole=[column])
    return 1 if any(check.state == "wrong" for check in checks) else 0


def _words(check: "Check") -> str:
    return f"{check.found} -> {check.advice}" if check.advice else check.found
