"""`longtail doctor`."""

from pathlib import Path

import click

from curation.cli.console import print_json, print_table
from curation.cli.options import as_json, overrides


@click.command()
@click.argument("pipeline", type=click.Path(path_type=Path), required=False)
@overrides
@click.option("--store", "stores", multiple=True, metavar="URL", help="Try this folder or prefix.")
@as_json
def doctor(
    pipeline: Path | None, overrides: tuple[str, ...], stores: tuple[str, ...], as_json: bool
) -> int:
    """Look at what is here, and at what PIPELINE would need, before anything is run.

    Exit code 1 where something must be mended.
    """
    from dataclasses import asdict

    from curation.doctor import check_machine, check_packages, check_pipeline, check_store
    from jobs.sessions import open_session
    from stages.registry import STAGES

    checks = [*check_machine(), *check_packages()]
    for url in stores:
        checks += check_store(url)
    if pipeline is not None:
        checks += check_pipeline(open_session(pipeline, overrides).config, STAGES)
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        rows = [(c.state, c.subject, c.found, c.advice) for c in checks]
        print_table(["", "looked at", "found", "what to do"], rows)
    return 1 if any(check.state == "wrong" for check in checks) else 0
