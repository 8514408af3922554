"""`longtail categories`."""

from typing import Any

import click

from curation.cli.console import print_json, print_lines, print_table
from curation.cli.options import as_json, chosen_pipeline, dataset_url


@click.group()
def categories() -> None:
    """Make categories, and the models that put images into them."""


@categories.command()
@dataset_url
@click.option("--out", required=True, help="Folder or URL for the head; empty or new.")
@click.option("--instance", help="Whose vectors to use, where several instances have some.")
@click.option(
    "--leaves",
    type=click.IntRange(min=1, max=65_536),
    help="Categories wanted, in levels of at most about 100.  [default: 10000]",
)
@click.option("--branching", help="The levels themselves, as in 100,100.")
@click.option(
    "--sample-rows",
    type=click.IntRange(min=1, max=10_000_000),
    default=1_000_000,
    show_default=True,
    help="Rows to look at, at most.",
)
@click.option(
    "--min-leaf-rows",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Leaves with fewer rows are given to their siblings.",
)
@click.option(
    "--head",
    type=click.Choice(["linear", "mlp"]),
    default="linear",
    show_default=True,
    help="One layer, or two.",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=0, max=1000),
    default=20,
    show_default=True,
    help="Epochs of training, at most; 0 keeps the tree in one layer, where training begins.",
)
@click.option(
    "--names",
    type=click.Choice(["words", "none"]),
    default="words",
    show_default=True,
    help="What leaves are called by.",
)
@click.option(
    "--names-from",
    type=click.Choice(["source_key", "alt_text", "caption"]),
    multiple=True,
    default=("source_key", "alt_text"),
    show_default=True,
    help="Where the words come from; may be repeated.",
)
@click.option(
    "--names-endpoint",
    metavar="URL",
    help="A vision-language model behind this OpenAI-compatible endpoint names the leaves by "
    "their pictures; $OPENAI_BASE_URL if only --names-model is given.",
)
@click.option("--names-model", metavar="NAME", help="That model.")
@click.option("--names-key-env", metavar="VARIABLE", help="Holds the key for that endpoint.")
@click.option("--seed", type=int, default=0, show_default=True, help="Draws everything.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where the head is trained; only a CPU gives the same bytes each time.",
)
@chosen_pipeline
@as_json
def build(
    dataset: str,
    out: str,
    instance: str | None,
    leaves: int | None,
    branching: str | None,
    pipeline: str | None,
    device: str,
    epochs: int,
    names_endpoint: str | None,
    names_model: str | None,
    names_key_env: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Cluster a sample into a tree, name its leaves, and train a head to assign them.

    The head is for `categorize: {categorizer: classifier, head: FOLDER}`. How far it agrees with
    the clustering is measured on rows that neither has seen, and kept in head.json and report.md.
    """
    from curation.config import validate
    from curation.dataset import Dataset
    from curation.endpoint import EndpointConfig, check_ready
    from curation.errors import UsageError
    from curation.ingest.load import reading_protocols
    from curation.inventory import applied_instances, choose_pipeline
    from curation.search import choose_instance
    from curation.storage import Store
    from stages.categorize.build import BuildSettings
    from stages.categorize.build import build as build_head
    from stages.categorize.build_report import figures
    from stages.categorize.build_tree import branching_for
    from stages.categorize.head_training import chosen_device
    from stages.categorize.leaf_names import NamingModel
    from stages.registry import STAGES

    if leaves is not None and branching is not None:
        message = "--leaves and --branching say the same twice; give one"
        raise UsageError(message)
    if names_model is None and (names_endpoint or names_key_env):
        message = "--names-model is missing: say which model of the endpoint names the leaves"
        raise UsageError(message)
    opened = Dataset.open(dataset)
    chosen = choose_instance(opened, STAGES, instance, pipeline)
    config = choose_pipeline(opened, pipeline)
    assert config is not None, "it has an instance"
    instances = {i.name: i for i in applied_instances(opened, config, STAGES)}
    levels = branching_for(leaves or 10_000) if branching is None else _levels(branching)
    settings = BuildSettings(branching=levels, max_epochs=epochs, **options)
    naming = None
    if names_model is not None:
        told = {"url": names_endpoint, "api_key_env": names_key_env}
        endpoint = validate(EndpointConfig, told, "--names-endpoint")
        check_ready(endpoint)
        naming = NamingModel(endpoint, names_model, reading_protocols(config.source))
    head = build_head(
        opened,
        instances,
        chosen,
        settings,
        out=Store(out),
        device=chosen_device(device),
        naming=naming,
        say=lambda line: click.echo(line, err=True),
    )
    if as_json:
        print_json({name: head.facts[name] for name in head.facts if name != "leaf_rows"})
        return
    print_table(["figure", "value"], figures(head.facts["agreement"]), right=("value",))
    used = f"categorizer: classifier, head: {out}"
    print_lines([f"{len(head.leaves):,} leaves in {out}; use it with `{used}`"])


def _levels(branching: str) -> tuple[int, ...]:
    from curation.errors import UsageError

    parts = branching.replace("x", ",").split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts) or len(parts) > 6:
        message = f"--branching {branching}: expected up to 6 numbers from 1, as in 100,100"
        raise UsageError(message)
    return tuple(int(part) for part in parts)
