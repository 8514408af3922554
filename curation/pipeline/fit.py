"""Fitted models: fitting on a sample, and pinning the artefact.

The artefact is written first and the pin last, by exclusive create: of two runs that fit at the
same time, one pin stands and both go on with it.
"""

import json
from collections.abc import Mapping

from curation.dataset import Dataset
from curation.errors import DatasetError, LongtailError
from curation.fingerprint import digest_files, pretty_json
from curation.pipeline.fit_sample import draw_sample
from curation.pipeline.instances import Instance
from curation.pipeline.stage import FittedStage
from schemas import dataset as paths


class NothingToFitError(LongtailError):
    """No row has all the columns that the fit reads."""


def find_pin(dataset: Dataset, fit_key: str) -> str | None:
    """Return the digest of the artefact pinned for a fit key, or null before the fit."""
    try:
        pin = json.loads(dataset.store.read(paths.pin_path(fit_key)))
    except FileNotFoundError:
        return None
    return str(pin["digest"])


def read_artifact(dataset: Dataset, instance: str, digest: str) -> dict[str, bytes]:
    """Read a fitted artefact's files and check them against their digest.

    Raises:
        DatasetError: Files are missing or were changed.
    """
    folder = paths.artifact_folder(instance, digest)
    files = {name: dataset.store.read(f"{folder}/{name}") for name in dataset.store.names(folder)}
    if digest_files(files) != digest:
        message = (
            f"{dataset.store.url}/{folder}: the artefact is missing or was changed; restore it, "
            f"name another one with `stages.{instance}.artifact` in the pipeline, or delete its "
            "file in pins/ to fit anew"
        )
        raise DatasetError(message)
    return files


def run_fit(dataset: Dataset, instance: Instance, instances: Mapping[str, Instance]) -> int:
    """Fit an instance on its deterministic sample, write the artefact, pin it.

    Returns:
        The number of rows in the sample.

    Raises:
        NothingToFitError: Not one row has what the fit reads.
    """
    stage = instance.make()
    assert isinstance(stage, FittedStage)
    assert instance.meaning is not None
    size, seed = stage.fit_sample()
    optional = stage.fit_optional()
    sample = draw_sample(dataset, instance, instances, stage.fit_reads(), size, seed, optional)
    if not len(sample):
        reads = ", ".join(name for name in stage.fit_reads() if name not in optional)
        message = f"{instance.name}: no row has {reads}; there is nothing to fit on"
        raise NothingToFitError(message)
    files = dict(stage.fit(sample))
    digest = digest_files(files)
    folder = paths.artifact_folder(instance.name, digest)
    for name, data in sorted(files.items()):
        dataset.store.create(f"{folder}/{name}", data)
    pin = {
        "format": 1,
        "instance": instance.name,
        "stage": instance.stage_type.name,
        "digest": digest,
        "sample_rows": len(sample),
    }
    dataset.store.create(paths.pin_path(instance.meaning.fit_key()), pretty_json(pin))
    return len(sample)
