"""`longtail`: nothing but parsing and printing, one file a command group.

Commands import what does the work when they are called, so `longtail --help` stays quick.
"""

import os
import sys
from collections.abc import Sequence

import click

from curation.cli.calibrate import calibrate
from curation.cli.cascade import cascade
from curation.cli.categories import categories
from curation.cli.compact import compact
from curation.cli.completion import completion
from curation.cli.dataset import ls, show
from curation.cli.demo import demo_corpus
from curation.cli.demo_train import demo_train
from curation.cli.demonstration import demo
from curation.cli.doctor import doctor
from curation.cli.forget import forget
from curation.cli.gc import gc
from curation.cli.models import models
from curation.cli.preferences import preferences
from curation.cli.report import report
from curation.cli.run import plan, run
from curation.cli.sample import sample
from curation.cli.search import search
from curation.cli.snapshot import snapshot
from curation.cli.sql import sql
from curation.cli.train import export, generate, train
from curation.cli.train_summary import train_summary
from curation.errors import LongtailError

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


def _print_version(context: click.Context, option: click.Parameter, value: bool) -> None:
    if value:
        from importlib import metadata

        try:
            version = metadata.version("longtail")
        except metadata.PackageNotFoundError:  # a working directory on a cluster
            version = "not installed"
        click.echo(f"longtail {version}")
        context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version and exit.",
)
def longtail() -> None:
    """Curate image corpora for text-to-image training, and keep their long tail.

    Exit codes: 0 done, 1 something failed or was given up, 2 the request was refused before
    anything started.
    """


for command in (
    plan,
    run,
    ls,
    show,
    sql,
    search,
    calibrate,
    snapshot,
    preferences,
    sample,
    report,
    cascade,
    forget,
    gc,
    categories,
    compact,
    models,
    train,
    train_summary,
    generate,
    export,
    doctor,
    demo_corpus,
    demo,
    demo_train,
    completion,
):
    longtail.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `longtail`, turn our errors into one sentence each, and exit."""
    given = None if arguments is None else list(arguments)
    try:
        code = longtail.main(given, prog_name="longtail", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except click.Abort:
        code = INTERRUPTED
    except LongtailError as error:
        for line in str(error).splitlines():
            click.echo(f"error: {line}", err=True)
        code = error.exit_code
    except BrokenPipeError:
        # The reader (`head`) has what it wanted; Python would complain while it shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code if isinstance(code, int) else 0)
