"""Contact sheets: what a leaf looks like, for a model that is to name it."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.dataset import Dataset
from curation.ingest.load import LOAD_COLUMNS, load_bytes
from curation.pixels import PixelSpec, View, views
from curation.pixels.encode import encode_jpeg
from curation.tables import IMAGE_ROW_GROUP, from_parquet
from schemas import dataset as layout
from stages.categorize import kmeans

SIDE = 2
"""Pictures in a row of a sheet, and rows of it."""

PICTURE_PX = 192
_PICTURE = PixelSpec(size_px=PICTURE_PX, fit="cover", filter="linear")
_LEAVES_AT_ONCE = 1000  # 0.4 GB of pictures; a row group seldom holds two of them
_QUALITY = 85


def nearest_rows(
    vectors: kmeans.Integers, labels: NDArray[np.int32], centers: kmeans.Integers
) -> list[list[int]]:
    """Return for each leaf the rows nearest to its centre, as many as a sheet holds."""
    products = np.empty(len(vectors), np.int64)
    for start in range(0, len(vectors), IMAGE_ROW_GROUP):
        block = slice(start, start + IMAGE_ROW_GROUP)
        mine = centers[labels[block]].astype(np.int64)
        products[block] = np.einsum("rd,rd->r", mine, vectors[block].astype(np.int64))
    order = np.lexsort((-products, labels))
    bounds = np.searchsorted(labels[order], np.arange(len(centers) + 1))
    return [
        order[start : min(start + SIDE * SIDE, end)].tolist()
        for start, end in itertools.pairwise(bounds.tolist())
    ]


def make_sheets(
    dataset: Dataset, wanted: Sequence[Sequence[tuple[int, int]]], protocols: tuple[str, ...]
) -> Iterator[bytes | None]:
    """Yield for each leaf a JPEG of its pictures side by side; null where none can be shown.

    Row groups of originals that hold a picture are read, and no others; they are large, so this is
    the slow part of naming: 40,000 pictures for 10,000 leaves.

    Args:
        dataset: The dataset.
        wanted: For each leaf the (shard, row) of its pictures.
        protocols: fsspec protocols that originals left in place may be read by.
    """
    for first in range(0, len(wanted), _LEAVES_AT_ONCE):
        leaves = wanted[first : first + _LEAVES_AT_ONCE]
        pictures = _pictures(dataset, {place for places in leaves for place in places}, protocols)
        for places in leaves:
            found = [pictures[place] for place in places if place in pictures]
            yield encode_jpeg(_sheet(found), _QUALITY) if found else None


def _pictures(
    dataset: Dataset, places: set[tuple[int, int]], protocols: tuple[str, ...]
) -> dict[tuple[int, int], NDArray[np.uint8]]:
    groups: dict[tuple[int, int], list[int]] = {}
    for shard, row in sorted(places):
        groups.setdefault((shard, row // IMAGE_ROW_GROUP), []).append(row)
    found = {}
    for (shard, group), rows in groups.items():
        with dataset.store.open(layout.images_path(shard)) as file:
            table = from_parquet(file, list(LOAD_COLUMNS), row_groups=[group])
        picked = table.take(pa.array([row - group * IMAGE_ROW_GROUP for row in rows]))
        for row, data in zip(rows, load_bytes(picked, protocols), strict=True):
            if isinstance(data, bytes):
                (view,) = views(data, [_PICTURE])
                if isinstance(view, View):
                    found[shard, row] = view.pixels
    return found


def _sheet(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return the pictures in rows, on white."""
    side = 1 if len(pictures) == 1 else SIDE
    rows = -(-len(pictures) // side)
    sheet = np.full((rows * PICTURE_PX, side * PICTURE_PX, 3), 255, np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number // side * PICTURE_PX, number % side * PICTURE_PX
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return sheet
