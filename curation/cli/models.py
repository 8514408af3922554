"""`longtail models`: list and fetch the weights that a pipeline names."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curation.cli.console import print_json, print_lines, print_table, readable_bytes
from curation.cli.options import as_json, overrides, pipeline_file

if TYPE_CHECKING:
    from curation.pipeline.models import NamedWeights


@click.group()
def models() -> None:
    """The weights of the models that a pipeline names."""


@models.command("list")
@pipeline_file
@overrides
@as_json
def list_all(pipeline: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Say which weights the stages of PIPELINE need, and which are on this machine.

    Nothing is fetched.
    """
    from curation.pipeline.models import find_models
    from jobs.sessions import read_pipeline
    from stages.registry import STAGES

    found = list(find_models(read_pipeline(pipeline, overrides), STAGES))
    if as_json:
        print_json([_json(named) for named in found])
        return
    if not found:
        print_lines(["no stage of this pipeline needs weights"])
        return
    print_table(
        ["stage", "role", "here", "size", "digest", "weights"],
        map(_row, found),
        right=["size"],
        whole=["weights"],
    )
    absent = [named for named in found if named.held is None]
    print_lines([named.trouble for named in absent if named.trouble])
    if any(not named.trouble for named in absent):
        print_lines([f"`longtail models fetch {pipeline}` fetches what is not here"])


@models.command("fetch")
@pipeline_file
@overrides
@as_json
def fetch_all(pipeline: Path, overrides: tuple[str, ...], as_json: bool) -> int:
    """Fetch the weights that PIPELINE names by URL or on the Hugging Face hub.

    They are kept below LONGTAIL_CACHE, ~/.cache/longtail where it is not set; what is there is not
    fetched again. Of a model, the pinned commit is fetched, and never its code. The exit code is 1
    where something could not be had.
    """
    from curation.pipeline.models import fetch_models
    from jobs.sessions import read_pipeline
    from stages.registry import STAGES

    found = []
    for named in fetch_models(read_pipeline(pipeline, overrides), STAGES):
        found.append(named)
        if named.held is None:
            for line in named.trouble.splitlines():
                click.echo(f"error: stages.{named.instance}: {line}", err=True)
        elif not as_json:
            held = named.held
            facts = f"{readable_bytes(held.num_bytes)}, digest {held.digest}"
            print_lines([f"{named.instance} {named.role}: {held.path} ({facts})"])
    if as_json:
        print_json([_json(named) for named in found])
    elif not found:
        print_lines(["no stage of this pipeline needs weights"])
    return 1 if any(named.held is None for named in found) else 0


def _row(named: "NamedWeights") -> tuple[Any, ...]:
    where = (named.instance, named.role)
    if named.held is None:
        return (*where, "no", None, None, named.reference)
    held = named.held
    return (*where, "yes", readable_bytes(held.num_bytes), held.digest[:12], named.reference)


def _json(named: "NamedWeights") -> dict[str, Any]:
    held = named.held
    return {
        "instance": named.instance,
        "backend": named.backend,
        "role": named.role,
        "reference": named.reference,
        "path": None if held is None else str(held.path),
        "bytes": None if held is None else held.num_bytes,
        "digest": None if held is None else held.digest,
        "trouble": named.trouble,
    }
