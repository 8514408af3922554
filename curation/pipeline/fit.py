"""Fitted models: fitting on a sample, and pinning the artefact.

The artefact is written first and the pin last, by exclusive create: of two runs that fit at the
same time, one pin stands and both go on with it.
"""

import itertools
import json
from collections.abc import Mapping

from curation.dataset import Dataset
from curation.errors import DatasetError, LongtailError
from curation.fingerprint import digest_files, pretty_json
from curation.pipeline.fit_sample import draw_sample
from curation.pipeline.instances import Instance
from curation.pipeline.stage import FittedStage
from curation.weights import Memory, memory_folder
from schemas import dataset as paths

_REMEMBERED_BYTES = 1 << 20  # smaller artefacts are read faster than looked up


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

    An instance that was renamed after its fit goes on with its artefact: the digest says what it
    is, and it lies below the name that the pin keeps. So other instances' folders are looked in
    where the own one has it not.

    Raises:
        DatasetError: Files are missing or were changed.
    """
    own = paths.artifact_folder(instance, digest)
    others = (paths.artifact_folder(n, digest) for n in dataset.store.names("artifacts"))
    wrong = []
    for folder in itertools.chain([own], (other for other in others if other != own)):
        names = dataset.store.names(folder)
        files = {name: dataset.store.read(f"{folder}/{name}") for name in names}
        if digest_files(files) == digest:
            return files
        if files:
            wrong.append(folder)
    refit = ", ".join([*wrong, *_pins_of(dataset, digest)])
    what = f"{wrong[0]}: the artefact was changed" if wrong else f"{own}: the artefact is missing"
    message = (
        f"{dataset.store.url}/{what}; restore it, or name another one with "
        f"`stages.{instance}.artifact` in the pipeline"
    )
    if refit:
        message += f", or delete {refit} to fit anew"
    raise DatasetError(message)


def check_artifact(dataset: Dataset, instance: str, digest: str) -> None:
    """Refuse an artefact that is missing or was changed, before anything needs it.

    A large one is read once: this machine remembers of which files, by the store's own times and
    tags, it found the digest to be true. Whoever loads it reads it and checks it anyway.

    Raises:
        DatasetError: As `read_artifact`.
    """
    folder = paths.artifact_folder(instance, digest)
    try:
        stamps = dict(dataset.store.stamps(folder))
    except FileNotFoundError:
        stamps = {}  # below the name of another instance, or nowhere
    if sum(stamp["size"] or 0 for stamp in stamps.values()) < _REMEMBERED_BYTES:
        read_artifact(dataset, instance, digest)
        return
    memory, name = Memory(memory_folder()), dataset.store.uri(folder)
    if memory.recall(name, stamps) != digest:
        read_artifact(dataset, instance, digest)
        memory.note(name, stamps, digest)


def _pins_of(dataset: Dataset, digest: str) -> list[str]:
    """Return the files of the pins that name an artefact."""
    pins = [f"pins/{name}" for name in dataset.store.names("pins")]
    return [pin for pin in pins if json.loads(dataset.store.read(pin))["digest"] == digest]


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
