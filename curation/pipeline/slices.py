"""A shard's images, a slice at a time: read, and decoded once for all stages that are due."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from curation import pixels
from curation.dataset import Dataset
from curation.errors import ContractError
from curation.ingest.load import load_bytes
from curation.pipeline.packet import Packet
from curation.pipeline.progress import OUTSIDE, PIXELS, Progress
from curation.tables import IMAGE_ROW_GROUP, from_parquet
from schemas import dataset as paths

SLICE_ROWS = 2 * IMAGE_ROW_GROUP
"""Rows decoded at a time: bounds the memory that views take, whatever the shard's size."""

FULL_SLICE_ROWS = 8
"""The same for stages that see pictures in full: up to 192 MB each."""

Marks = Mapping[tuple[int, int], str]
"""(step index or `PIXELS`, row) -> `code: text` for rows over which a process has died."""

Views = list[list[pixels.View | str]]
"""For each row of a slice, its view or error for every specification."""


SLICE_BYTES = 256 << 20
"""What the views of a slice may take; a worker may have several shards, and slices, in hand."""


def slice_rows(specs: Sequence[pixels.PixelSpec]) -> int:
    """Return how many rows may be decoded at a time for some views."""
    if any(spec.fit == "full" for spec in specs):
        return FULL_SLICE_ROWS
    row_bytes = sum(3 * spec.size_px**2 for spec in specs)
    return max(FULL_SLICE_ROWS, min(SLICE_ROWS, SLICE_BYTES // max(1, row_bytes)))


def image_slices(
    dataset: Dataset,
    shard: int,
    images: pa.Table | None,
    columns: Sequence[str],
    num_rows: int,
    only_row: int | None,
) -> Iterator[pa.Table]:
    """Yield the image rows of a shard in order, at most `num_rows` at a time.

    Args:
        dataset: Where it lies.
        shard: Its number.
        images: Its rows, where they are in memory already.
        columns: What to read otherwise.
        num_rows: Rows of a slice, at most `SLICE_ROWS`.
        only_row: Yield this row alone; null for all.
    """
    for part in _parts(dataset, shard, images, columns, only_row):
        for start in range(0, len(part), num_rows):
            yield part.slice(start, num_rows)


def _parts(
    dataset: Dataset,
    shard: int,
    images: pa.Table | None,
    columns: Sequence[str],
    only_row: int | None,
) -> Iterator[pa.Table]:
    if only_row is not None and images is not None:
        yield images.slice(only_row, 1)
    elif images is not None:
        for start in range(0, len(images), SLICE_ROWS):
            yield images.slice(start, SLICE_ROWS)
    else:
        with dataset.store.open(paths.images_path(shard)) as file:
            parquet = pq.ParquetFile(file)
            per_slice = SLICE_ROWS // IMAGE_ROW_GROUP
            for first in range(0, parquet.num_row_groups, per_slice):
                groups = range(first, min(first + per_slice, parquet.num_row_groups))
                if only_row is None:
                    yield from_parquet(file, columns, groups)
                elif only_row // IMAGE_ROW_GROUP in groups:
                    part = from_parquet(file, columns, groups)
                    yield part.slice(only_row - first * IMAGE_ROW_GROUP, 1)


def decode(
    images: pa.Table,
    specs: Sequence[pixels.PixelSpec],
    protocols: tuple[str, ...],
    marks: Marks,
    progress: Progress,
) -> Views:
    """Decode the images of a slice, each once.

    Args:
        images: The slice.
        specs: The views that are wanted.
        protocols: Where bytes stored by reference may be read from.
        marks: Rows that must not be touched again.
        progress: Told of each row before it is decoded.
    """
    progress.at(PIXELS)
    data = load_bytes(images, protocols)
    views: Views = []
    for row, content in zip(images["row"].to_pylist(), data, strict=True):
        mark = marks.get((PIXELS, row))
        progress.at(PIXELS, row)
        if mark is not None:
            views.append([mark] * len(specs))
        elif isinstance(content, str):
            views.append([content] * len(specs))
        else:
            views.append(pixels.views(content, specs))
    progress.at(PIXELS, OUTSIDE)
    return views


def view_of(views: Views, spec: int) -> Callable[[int], pixels.View | str]:
    """Return what gives a stage the view of a position in the slice."""
    return lambda position: views[position][spec]


def packed_views(packet: Packet, images: pa.Table, name: str) -> Callable[[int], pixels.View | str]:
    """Return what gives a stage the view of a position in the slice, made elsewhere.

    Raises:
        ContractError: The packet was made of other images.
    """
    ids: list[bytes] = images["image_id"].to_pylist()
    if not packet.holds(ids):
        message = f"{name}: the packet holds views of other rows than images"
        raise ContractError(message)
    return lambda position: packet.view(ids[position])
