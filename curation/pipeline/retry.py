"""Trying again what failed for a passing reason: one of the three ways a file is ever rewritten."""

from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from curation.dataset import Dataset
from curation.ingest.config import SourceConfig
from curation.ingest.make_shard import make_image_shard
from curation.ingest.tombstones import read_tombstones
from curation.ingest.withhold import settle, withhold
from curation.pipeline.instances import Instance
from curation.pipeline.readers import Readers
from curation.pipeline.stage import ERROR
from curation.tables import write_table
from schemas import dataset as paths
from schemas.error_codes import error_code, is_transient

_NEED_LISTING = ("changed", "deferred")
"""A file that is no longer what was listed, or for which its shard has no room, is for the next
ingest to list, not for a retry."""


def retry_transient(
    dataset: Dataset, source: SourceConfig | None, instances: Sequence[Instance]
) -> dict[str, int]:
    """Clear the way for another try at every row with a transient error.

    Of each shard concerned, the files of everything that was ever computed from it are deleted
    first, whichever pipeline and fingerprint they belong to; then the file itself is deleted or,
    for images, replaced: whenever this stops in the middle, the next plan finds files missing and
    nothing wrong. Images are read again row by row, so a source that has lost files since costs
    none of the rows that were taken in. What is forgotten meanwhile stays forgotten: see
    `curation.ingest.withhold`.

    Returns:
        Instance -> shards to be made again; `images` for those replaced.
    """
    cleared: dict[str, int] = {}
    readers = Readers(dataset)
    if source is not None and (replaced := _retry_images(dataset, source, readers)):
        cleared[paths.IMAGES] = replaced
    for instance in instances:
        if instance.is_relation or not instance.is_ready:
            continue
        folder = paths.instance_folder(instance.name, instance.fingerprint)
        folders = readers.of(instance.name, instance.fingerprint)
        for shard in dataset.instance_shards(instance.name, instance.fingerprint):
            if _transient_rows(dataset, folder, shard, f"{instance.name}_{ERROR}"):
                _delete(dataset, [*folders, folder], shard)
                cleared[instance.name] = cleared.get(instance.name, 0) + 1
    return cleared


def _retry_images(dataset: Dataset, source: SourceConfig, readers: Readers) -> int:
    """Replace what can be read now; return in how many shards there was something."""
    found = {
        shard: rows
        for shard in dataset.image_shards()
        if (rows := _transient_rows(dataset, paths.IMAGES, shard, "source_error"))
    }
    if not found:
        return 0
    lists = dataset.listed_shards()
    folders = readers.of_images()
    num_replaced = 0
    for shard, rows in found.items():
        lines = dataset.read_list(*lists[shard])
        lines = lines.filter(pc.equal(lines["shard"], shard)).take(pa.array(rows, pa.int64()))
        if lines["source_name"][0].as_py() != source.name:
            continue  # its own pipeline knows where to look
        images = _read_again(dataset, source, shard, rows, lines)
        if images is not None:
            # Reading the source took its time, and whoever forgot meanwhile cannot know of us.
            tombstones = read_tombstones(dataset)
            _delete(dataset, folders, shard)
            write_table(dataset.store, paths.images_path(shard), withhold(images, tombstones))
            settle(dataset, shard, tombstones)
            num_replaced += 1
    return num_replaced


def _transient_rows(dataset: Dataset, folder: str, shard: int, column: str) -> list[int]:
    errors = dataset.files.read(folder, shard, [column])[column].to_pylist()
    return [row for row, text in enumerate(errors) if text is not None and is_transient(text)]


def _read_again(
    dataset: Dataset,
    source: SourceConfig,
    shard: int,
    rows: Sequence[int],
    lines: pa.Table,
) -> pa.Table | None:
    """Return an image shard with those rows that can be read now; null where none can."""
    made = make_image_shard(lines, source, read_tombstones(dataset))
    errors = made["source_error"].to_pylist()
    good = [
        position
        for position, text in enumerate(errors)
        if text is None or (error_code(text) not in _NEED_LISTING and not is_transient(text))
    ]
    if not good:
        return None
    old = dataset.read_images(shard)
    order = list(range(len(old)))
    for position in good:
        order[rows[position]] = len(old) + position
    return pa.concat_tables([old, made]).take(pa.array(order, pa.int64()))


def _delete(dataset: Dataset, folders: Iterable[str], shard: int) -> None:
    """Delete one shard in each of the folders, in their order."""
    for folder in folders:
        dataset.files.delete(folder, shard)
