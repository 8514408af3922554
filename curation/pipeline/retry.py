"""Trying again what failed for a passing reason: one of the three ways a file is ever rewritten."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from curation.dataset import Dataset
from curation.ingest.config import SourceConfig
from curation.ingest.make_shard import make_image_shard
from curation.ingest.tombstones import read_tombstones
from curation.pipeline.instances import Instance
from curation.pipeline.stage import ERROR
from curation.tables import read_table, write_table
from schemas import dataset as paths
from schemas.error_codes import error_code, is_transient

_NEED_LISTING = ("changed", "deferred")
"""A file that is no longer what was listed, or for which its shard has no room, is for the next
ingest to list, not for a retry."""


def retry_transient(
    dataset: Dataset, source: SourceConfig | None, instances: Sequence[Instance]
) -> dict[str, int]:
    """Clear the way for another try at every row with a transient error.

    Of each shard concerned, the files of every instance that reads it are deleted first, then the
    file itself is deleted or, for images, replaced: whenever this stops in the middle, the next
    plan finds files missing and nothing wrong. Images are read again row by row, so a source that
    has lost files since costs none of the rows that were taken in.

    Returns:
        Instance -> shards to be made again; `images` for those replaced.
    """
    cleared: dict[str, int] = {}
    if source is not None:
        for shard in dataset.image_shards():
            rows = _transient_rows(dataset, paths.images_path(shard), "source_error")
            if rows and _read_again(dataset, source, instances, shard, rows):
                cleared[paths.IMAGES] = cleared.get(paths.IMAGES, 0) + 1
    for instance in instances:
        if instance.is_relation or not instance.is_ready:
            continue
        for shard in dataset.instance_shards(instance.name, instance.fingerprint):
            path = paths.instance_path(instance.name, instance.fingerprint, shard)
            if _transient_rows(dataset, path, f"{instance.name}_{ERROR}"):
                _delete_readers(dataset, instances, instance.name, shard)
                dataset.store.delete(path)
                cleared[instance.name] = cleared.get(instance.name, 0) + 1
    return cleared


def _transient_rows(dataset: Dataset, path: str, column: str) -> list[int]:
    errors = read_table(dataset.store, path, [column])[column].to_pylist()
    return [row for row, text in enumerate(errors) if text is not None and is_transient(text)]


def _read_again(
    dataset: Dataset,
    source: SourceConfig,
    instances: Sequence[Instance],
    shard: int,
    rows: Sequence[int],
) -> bool:
    """Replace those rows of an image shard that can be read now; say whether there were any."""
    seq, number = dataset.listed_shards()[shard]
    lines = dataset.read_list(seq, number)
    if lines["source_name"][0].as_py() != source.name:
        return False  # listed by another pipeline; its kind of source alone can read its lines
    lines = lines.filter(pc.equal(lines["shard"], shard)).take(pa.array(rows, pa.int64()))
    made = make_image_shard(lines, source, read_tombstones(dataset))
    errors = made["source_error"].to_pylist()
    good = [
        position
        for position, text in enumerate(errors)
        if text is None or (error_code(text) not in _NEED_LISTING and not is_transient(text))
    ]
    if not good:
        return False
    old = dataset.read_images(shard)
    order = list(range(len(old)))
    for position in good:
        order[rows[position]] = len(old) + position
    images = pa.concat_tables([old, made]).take(pa.array(order, pa.int64()))
    _delete_readers(dataset, instances, paths.IMAGES, shard)
    write_table(dataset.store, paths.images_path(shard), images)
    return True


def _delete_readers(dataset: Dataset, instances: Sequence[Instance], name: str, shard: int) -> None:
    """Delete one shard's file of everything that reads `name`, the last readers first."""
    readers = {name}
    for instance in instances:
        stage = instance.make()
        images = stage.pixels() is not None or any(r.startswith("images.") for r in stage.reads())
        if readers & set(instance.inputs.values()) or (images and paths.IMAGES in readers):
            readers.add(instance.name)
    for instance in reversed(instances):
        if instance.name in readers - {name} and not instance.is_relation and instance.is_ready:
            dataset.store.delete(paths.instance_path(instance.name, instance.fingerprint, shard))
