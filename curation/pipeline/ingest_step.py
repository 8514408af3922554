"""The first step of a shard: its images are read from the source and kept."""

import time
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from curation.dataset import Dataset
from curation.errors import ConservationError
from curation.ingest.config import SourceConfig
from curation.ingest.make_shard import make_image_shard
from curation.ingest.tombstones import read_tombstones
from curation.pipeline.standing import create_or_stand, standing
from curation.pipeline.tasks import StepResult
from schemas import dataset as paths

ERRORS = "source_error"


def ingest_shard(
    dataset: Dataset, source: SourceConfig, shard: int, work_list: tuple[int, int]
) -> tuple[pa.Table | None, StepResult]:
    """Make an image shard from its part of a work list, unless it is there.

    Two writers differ at most in rows with passing errors, and the first file stands.

    Args:
        dataset: Where to put it.
        source: Where the images are.
        shard: Its number.
        work_list: (ingest, list) that names its files.

    Returns:
        Its rows, null where the file of another writer stands and is to be read; and the result.

    Raises:
        ConservationError: Rows were lost.
    """
    started = time.perf_counter()
    path = paths.images_path(shard)
    if dataset.store.exists(path):
        return None, standing(dataset, path, ERRORS)  # made before this task's process died
    rows = dataset.read_list(*work_list)
    rows = rows.filter(pc.equal(rows["shard"], shard))
    images = make_image_shard(rows, source, read_tombstones(dataset))
    if len(images) != len(rows):
        message = f"ingest: {len(rows)} files listed, {len(images)} rows made"
        raise ConservationError(message)
    result, is_own = create_or_stand(dataset, path, images, ERRORS)
    if not is_own:
        return None, result
    return images, replace(result, seconds=time.perf_counter() - started)
