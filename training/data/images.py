"""Pixels of a snapshot's images, in the size of their bucket."""

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from curation.dataset import Dataset
from curation.errors import SnapshotError
from curation.ingest.load import LOAD_COLUMNS, load_bytes
from curation.pixels import views
from curation.snapshot.config import Bucket
from curation.tables import IMAGE_ROW_GROUP, from_parquet
from schemas import dataset as paths
from training.data.table import TrainingTable
from training.encoders.sizes import bucket_spec


class ImageReader:
    """Reads views of images by position, and keeps the last ones.

    A view is a pure function of the file and the bucket, so what is kept cannot go stale. Images
    are read by row groups of 64, whose other images are kept as well where they are wanted. What
    was forgotten since the snapshot is black: its bytes are gone, and it counts nothing.

    Args:
        table: The images.
        buckets: Size for each of the table's aspects.
        protocols: fsspec protocols that originals left in place may be read by.
        cache_bytes: Views that are kept, at most.
    """

    def __init__(
        self,
        table: TrainingTable,
        buckets: Sequence[Bucket],
        protocols: tuple[str, ...],
        cache_bytes: int,
    ) -> None:
        self._table = table
        self._specs = [bucket_spec(bucket) for bucket in buckets]
        self._protocols = protocols
        self._cache_bytes = cache_bytes
        self._held_bytes = 0
        self._cache: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._of_group: dict[tuple[int, int], list[int]] = {}
        for position, (shard, row) in enumerate(
            zip(table.shard.tolist(), table.row.tolist(), strict=True)
        ):
            if table.forbidden[position]:
                continue
            self._of_group.setdefault((shard, row // IMAGE_ROW_GROUP), []).append(position)

    def size(self, position: int) -> Bucket:
        """Return the width and height in which an image is shown."""
        return self._specs[int(self._table.aspect[position])].box

    def is_forbidden(self, position: int) -> bool:
        """Say whether a tombstone came after the snapshot."""
        return bool(self._table.forbidden[position])

    def read(self, positions: Sequence[int]) -> list[NDArray[np.uint8]]:
        """Return (height, width, 3) uint8 sRGB for each position.

        Raises:
            SnapshotError: A kept image cannot be read any more.
        """
        wanted = set(positions)
        found: dict[int, NDArray[np.uint8]] = {}
        for position in sorted(wanted):
            if self._table.forbidden[position]:
                spec = self._specs[int(self._table.aspect[position])]
                found[position] = np.zeros((spec.height_px or 0, spec.size_px, 3), np.uint8)
            elif position in self._cache:
                self._cache.move_to_end(position)
                found[position] = self._cache[position]
            elif position not in found:
                found.update(self._read_group(position, wanted))
        return [found[position] for position in positions]

    def _read_group(self, position: int, wanted: set[int]) -> dict[int, NDArray[np.uint8]]:
        """Read the row group that an image lies in; return those of it that are wanted."""
        shard = int(self._table.shard[position])
        group = int(self._table.row[position]) // IMAGE_ROW_GROUP
        mine = self._of_group[shard, group]
        if self._held_bytes >= self._cache_bytes:  # there is no room for more than is wanted
            mine = [other for other in mine if other in wanted]
        dataset: Dataset = self._table.dataset
        columns = ["row", *LOAD_COLUMNS]
        with dataset.store.open(paths.images_path(shard)) as file:
            images = from_parquet(file, columns, [group])
        rows = {row: place for place, row in enumerate(images["row"].to_pylist())}
        images = images.take([rows[int(self._table.row[other])] for other in mine])
        found = {}
        for other, data in zip(mine, load_bytes(images, self._protocols), strict=True):
            spec = self._specs[int(self._table.aspect[other])]
            shown = data if isinstance(data, str) else views(data, [spec])[0]
            if isinstance(shown, str):
                image_id = self._table.image_ids[other].tobytes().hex()
                message = (
                    f"snapshot {self._table.snapshot}: image {image_id} (shard {shard}, row "
                    f"{self._table.row[other]}) cannot be read: {shown}; restore the original, or "
                    "make a snapshot without it"
                )
                raise SnapshotError(message)
            self._keep(other, shown.pixels)
            if other in wanted:
                found[other] = shown.pixels
        return found

    def _keep(self, position: int, pixels: NDArray[np.uint8]) -> None:
        if position in self._cache or pixels.nbytes > self._cache_bytes:
            return
        self._cache[position] = pixels
        self._held_bytes += pixels.nbytes
        while self._held_bytes > self._cache_bytes:
            _, dropped = self._cache.popitem(last=False)
            self._held_bytes -= dropped.nbytes
