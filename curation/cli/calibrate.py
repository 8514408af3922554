"""`longtail calibrate`."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curation.cli.console import print_json, print_lines, print_table
from curation.cli.options import as_json, chosen_pipeline, dataset_url

if TYPE_CHECKING:
    from curation.dataset import Dataset
    from curation.labels import Labels
    from curation.pipeline.instances import Instance

_CATEGORY = "category"


@click.command()
@dataset_url
@click.argument("labels", type=click.Path(path_type=Path))
@click.option("--instance", help="Which instance, where several could be calibrated.")
@click.option(
    "--precision",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.9,
    show_default=True,
    help="Share of what passes the threshold that shall be right.",
)
@click.option("--out", type=click.Path(path_type=Path), help="File for the sigmoids of attributes.")
@chosen_pipeline
@as_json
def calibrate(
    dataset: str,
    labels: Path,
    instance: str | None,
    precision: float,
    out: Path | None,
    pipeline: str | None,
    as_json: bool,
) -> None:
    """Make zero-shot scores mean what they say, with some images that people labelled.

    LABELS is a CSV or Parquet file with image_id or source_key (and source_name). With a column
    `category`, the path of a category or `other`, it calibrates `categorize: taxonomy` and prints
    the temperature and threshold for the pipeline. With columns called like probes, of 1 and 0, it
    calibrates `attributes: zero_shot` and writes --out, which `calibration:` names.
    """
    from curation.dataset import Dataset
    from curation.labels import read_labels

    opened = Dataset.open(dataset)
    given = read_labels(labels)
    if _CATEGORY in given.names:
        chosen, instances = _choose(opened, "categorize", "taxonomy", instance, pipeline)
        found = _calibrate_taxonomy(opened, given, chosen, instances, precision)
    else:
        chosen, instances = _choose(opened, "attributes", "zero_shot", instance, pipeline)
        found = _calibrate_probes(opened, given, chosen, precision, out)
    if as_json:
        print_json(found)
    else:
        _print(found)


def _choose(
    dataset: "Dataset", stage: str, backend: str, name: str | None, pipeline: str | None
) -> tuple["Instance", Mapping[str, "Instance"]]:
    """Return the instance that is calibrated, and all of its pipeline."""
    from curation.config import nearest
    from curation.errors import UsageError
    from curation.inventory import applied_instances, choose_pipeline
    from stages.registry import STAGES

    config = choose_pipeline(dataset, pipeline)
    known = () if config is None else applied_instances(dataset, config, STAGES)
    able = {
        i.name: i
        for i in known
        if i.stage_type.name == stage and i.stage_type.backends.get(backend) is i.make().backend
    }
    where = dataset.store.url
    if name is not None and name not in able:
        message = f"{where}: no instance {name!r} of {stage}: {backend}{nearest(name, list(able))}"
        raise UsageError(message)
    if not able:
        message = f"{where}: no pipeline with {stage}: {backend} was applied; run one first"
        raise UsageError(message)
    if name is None and len(able) > 1:
        message = f"{where}: choose one with --instance: {', '.join(able)}"
        raise UsageError(message)
    chosen = able[name] if name is not None else next(iter(able.values()))
    if not chosen.is_ready:
        message = f"{where}: {chosen.name} waits for a fit; run the pipeline, then calibrate"
        raise UsageError(message)
    return chosen, {i.name: i for i in known}


def _calibrate_taxonomy(
    dataset: "Dataset",
    labels: "Labels",
    chosen: "Instance",
    instances: Mapping[str, "Instance"],
    precision: float,
) -> dict[str, Any]:
    from dataclasses import asdict

    from curation.labels import find_labelled
    from curation.pipeline.fit import read_artifact
    from stages.categorize.columns import VECTOR, vectors_of
    from stages.categorize.taxonomy import TaxonomyConfig, open_artifact
    from stages.categorize.taxonomy_calibration import calibrate

    embed, column = chosen.source_of(VECTOR)
    owner = instances[embed]
    found = find_labelled(dataset, labels, {VECTOR: (owner, column.removeprefix(f"{embed}_"))})
    assert chosen.artifact is not None, "it is ready"
    model, centers = open_artifact(read_artifact(dataset, chosen.name, chosen.artifact))
    config = chosen.config
    assert isinstance(config, TaxonomyConfig)
    result = calibrate(
        vectors_of(found.columns[VECTOR]),
        [row[_CATEGORY] for row in found.labels],
        [(node["path"], node["parent"]) for node in model["nodes"]],
        centers,
        logit_scale=model["logit_scale"],
        temperature=config.temperature,
        beam=config.beam,
        precision=precision,
    )
    # Rounded down, so that the last example which it keeps stays.
    threshold = None if result.cut is None else math.floor(result.cut.threshold * 9999) / 10_000
    settings = {"temperature": result.temperature}
    return {
        "instance": chosen.name,
        "settings": settings if threshold is None else {**settings, "threshold": threshold},
        "figures": {chosen.name: {**asdict(result), "wanted_precision": precision}},
        "unknown": found.num_unknown,
        "without": found.num_without,
    }


def _calibrate_probes(
    dataset: "Dataset", labels: "Labels", chosen: "Instance", precision: float, out: Path | None
) -> dict[str, Any]:
    from dataclasses import asdict

    from curation.errors import UsageError
    from curation.fingerprint import pretty_json
    from curation.labels import find_labelled
    from stages.attributes.calibrate import calibrate_probe, labelled_probes
    from stages.attributes.calibration import Calibration
    from stages.attributes.zero_shot import VECTOR, ZeroShotConfig, sigmoids_of

    if out is None:
        message = "say with --out where the calibration shall be written"
        raise UsageError(message)
    config = chosen.config
    assert isinstance(config, ZeroShotConfig)
    names = labelled_probes(labels.names, config.probes, str(labels.path))
    found = find_labelled(dataset, labels, {name: (chosen, name) for name in names})
    former = sigmoids_of(chosen.make())
    figures = {
        name: calibrate_probe(
            name,
            config.probes[name],
            found.columns[name].to_pylist(),
            [row[name] for row in found.labels],
            former=former[name],
            precision=precision,
        )
        for name in names
    }
    assert chosen.meaning is not None, "it is ready"
    calibration = Calibration(
        vector=chosen.meaning.reads[VECTOR],
        probes={name: figure.calibration for name, figure in figures.items()},
    )
    try:
        out.write_bytes(pretty_json(calibration.model_dump(mode="json")))
    except OSError as error:
        message = f"--out {out}: cannot be written: {error.strerror or error}"
        raise UsageError(message) from error
    rows = {
        name: {
            "labels": figure.calibration.positives + figure.calibration.negatives,
            **{k: v for k, v in asdict(figure).items() if k != "calibration"},
            "wanted_precision": precision,
        }
        for name, figure in figures.items()
    }
    return {
        "instance": chosen.name,
        "settings": {"calibration": str(out)},
        "figures": rows,
        "unknown": found.num_unknown,
        "without": found.num_without,
    }


def _print(found: Mapping[str, Any]) -> None:
    rows = [
        (name, figure, _shown(value))
        for name, figures in found["figures"].items()
        for figure, value in figures.items()
    ]
    print_table(["what", "figure", "value"], rows, right=("value",))
    lines = []
    if found["unknown"] or found["without"]:
        lines.append(
            f"{found['unknown']:,} labels name no image, {found['without']:,} images lack values"
        )
    settings = ", ".join(f"{key}: {value}" for key, value in found["settings"].items())
    lines.append(f"in the pipeline, under stages.{found['instance']}: {settings}")
    print_lines(lines)


def _shown(value: Any) -> str:
    if value is None:
        return "none reaches it"
    if isinstance(value, Mapping):  # a cut
        kept = f"keeps {value['kept_share']:.1%}, {value['precision']:.1%} right"
        return f"{value['threshold']:.4g} ({kept})"
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}"
