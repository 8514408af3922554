"""Fitted models: drawing the sample, fitting, and pinning the artefact.

The artefact is written first and the pin last, by exclusive create: of two runs that fit at the
same time, one pin stands and both go on with it.
"""

import json
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.dataset import Dataset
from curation.draw import draw_hashes
from curation.errors import LongtailError
from curation.fingerprint import digest_files, pretty_json
from curation.pipeline.instances import Instance
from curation.pipeline.stage import FittedStage
from curation.tables import read_table
from schemas import dataset as paths
from schemas.columns import IMAGE_ID


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
        LongtailError: Files are missing or were changed.
    """
    folder = paths.artifact_folder(instance, digest)
    files = {name: dataset.store.read(f"{folder}/{name}") for name in dataset.store.names(folder)}
    if digest_files(files) != digest:
        message = (
            f"{dataset.store.url}/{folder}: the artefact is missing or was changed; restore it, "
            f"or name another one with `artifact:` in the pipeline"
        )
        raise LongtailError(message)
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


def draw_sample(
    dataset: Dataset,
    instance: Instance,
    instances: Mapping[str, Instance],
    reads: tuple[str, ...],
    size: int,
    seed: int,
    optional: tuple[str, ...] = (),
) -> pa.Table:
    """Return the `size` rows with the smallest hash(image_id, seed), in that order.

    Every image counts once, however often it was ingested; rows with a null in `reads` do not
    count, unless it is in an `optional` column. Shards are read one at a time, so memory holds one
    sample and one shard.
    """
    owners: dict[str, list[tuple[str, str]]] = {}
    for logical in reads:
        owner, column = instance.source_of(logical)
        owners.setdefault(owner, []).append((logical, column))
    kept: pa.Table | None = None
    for shard in _complete_shards(dataset, owners, instances):
        table = _read_shard(dataset, owners, instances, shard)
        valid = np.ones(len(table), dtype=bool)
        for logical in reads:
            if logical not in optional:
                valid &= table[logical].is_valid().to_numpy()
        table = table.filter(pa.array(valid))
        hashes = draw_hashes(table["image_id"].to_pylist(), seed)
        table = table.append_column("draw", pa.array(hashes, pa.uint64()))
        kept = table if kept is None else pa.concat_tables([kept, table])
        order = pc.sort_indices(kept, [("draw", "ascending"), ("image_id", "ascending")])
        kept = _first_of_each(kept.take(order)).slice(0, size)
    if kept is None:
        fields = [IMAGE_ID, *(pa.field(logical, pa.null()) for logical in reads)]
        return pa.schema(fields).empty_table()
    return kept.drop_columns(["draw"]).combine_chunks()


def _complete_shards(
    dataset: Dataset, owners: Mapping[str, object], instances: Mapping[str, Instance]
) -> list[int]:
    found = set(dataset.image_shards())
    for owner in owners:
        if owner != paths.IMAGES:
            found &= set(dataset.instance_shards(owner, instances[owner].fingerprint))
    return sorted(found)


def _read_shard(
    dataset: Dataset,
    owners: Mapping[str, list[tuple[str, str]]],
    instances: Mapping[str, Instance],
    shard: int,
) -> pa.Table:
    result: pa.Table | None = None
    for owner, columns in owners.items():
        if owner == paths.IMAGES:
            path = paths.images_path(shard)
        else:
            path = paths.instance_path(owner, instances[owner].fingerprint, shard)
        names = [column for _, column in columns]
        table = read_table(dataset.store, path, [IMAGE_ID.name, *names])
        if result is None:
            result = table.select([IMAGE_ID.name])
        for logical, column in columns:
            result = result.append_column(logical, table[column])
    assert result is not None
    return result


def _first_of_each(table: pa.Table) -> pa.Table:
    """Drop repeats of an image id; equal ids stand side by side."""
    if len(table) < 2:
        return table
    ids = table["image_id"].to_numpy(zero_copy_only=False)
    first = np.concatenate([[True], ids[1:] != ids[:-1]])
    return table.filter(pa.array(first))
