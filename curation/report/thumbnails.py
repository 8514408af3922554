"""Thumbnails: originals decoded, made small and encoded again, as data URIs.

Only rows that a stage has decoded without trouble are decoded here: what crashed or hung a worker
shall not do so to whoever writes a report.
"""

import base64
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import pyarrow as pa

from curation.dataset import Dataset
from curation.ingest.load import LOAD_COLUMNS, load_bytes
from curation.pixels import PixelSpec, View, views
from curation.pixels.encode import encode_webp
from curation.report.draws import Place
from curation.tables import IMAGE_ROW_GROUP, from_parquet
from schemas import dataset as layout

PICTURE = PixelSpec(size_px=160, fit="inside", filter="bicubic")
CHIP = PixelSpec(size_px=80, fit="cover", filter="bicubic")
"""Squares that say at a glance what a category is."""

_QUALITY = 74


@dataclass(frozen=True)
class Thumbnail:
    """A small picture.

    Attributes:
        uri: `data:` URI; it holds base64 only, nothing of the row.
        width: In pixels.
        height: In pixels.
    """

    uri: str
    width: int
    height: int


Wanted = Mapping[Place, Collection[PixelSpec]]


def make_thumbnails(
    dataset: Dataset, wanted: Wanted, protocols: tuple[str, ...]
) -> dict[tuple[Place, PixelSpec], Thumbnail | str]:
    """Make the thumbnails of some rows; what cannot be shown is `code: text`.

    One row group of originals is held at a time.

    Args:
        dataset: The dataset.
        wanted: Place -> sizes.
        protocols: fsspec protocols that originals left in place may be read by.
    """
    groups: dict[tuple[int, int], list[Place]] = {}
    for place in sorted(wanted):
        groups.setdefault((place.shard, place.row // IMAGE_ROW_GROUP), []).append(place)
    found: dict[tuple[Place, PixelSpec], Thumbnail | str] = {}
    for (shard, group), places in groups.items():
        rows = [place.row % IMAGE_ROW_GROUP for place in places]
        originals = load_bytes(_read_rows(dataset, shard, group, rows), protocols)
        for place, original in zip(places, originals, strict=True):
            specs = list(wanted[place])
            if isinstance(original, str):
                found.update({(place, spec): original for spec in specs})
            else:
                shown = zip(specs, views(original, specs), strict=True)
                found.update({(place, spec): _thumbnail(view) for spec, view in shown})
    return found


def _read_rows(dataset: Dataset, shard: int, group: int, rows: list[int]) -> pa.Table:
    with dataset.store.open(layout.images_path(shard)) as file:
        table = from_parquet(file, LOAD_COLUMNS, [group])
    return table.take(pa.array(rows))


def _thumbnail(view: View | str) -> Thumbnail | str:
    if isinstance(view, str):
        return view
    height, width = view.pixels.shape[:2]
    encoded = base64.b64encode(encode_webp(view.pixels, _QUALITY)).decode()
    return Thumbnail(f"data:image/webp;base64,{encoded}", width, height)
