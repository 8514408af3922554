"""Joint counts of binned columns: what the page adds up when a threshold is moved."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation import duck
from curation.report.sliders import Panel
from curation.report.source import Source
from curation.snapshot import reasons as why


@dataclass(frozen=True)
class Cells:
    """Joint counts of the bins that have any row, in the order of the bins.

    Attributes:
        bins: int64 [cells, dimensions].
        passing: int64 [cells]: rows that everything but the sliders lets through.
        kept: int64 [cells]: rows of the snapshot.
    """

    bins: NDArray[np.int64]
    passing: NDArray[np.int64]
    kept: NDArray[np.int64]


def count_cells(source: Source, panel: Panel) -> Cells:
    """Count the rows of each combination of bins, in one scan.

    Counted are rows that pass all that no slider stands for. Whoever is out as a duplicate or was
    not drawn has passed every predicate.
    """
    names = [f"b{number}" for number in range(len(panel.dimensions))]
    bins = ", ".join(f"{d.bin_sql()} AS {n}" for d, n in zip(panel.dimensions, names, strict=True))
    passes = "true"
    if source.manifest is not None:
        may = [why.DUPLICATE, why.UNSAMPLED]
        may += [form for name in panel.released for form in (name, why.unknown(name))]
        listed = ", ".join(duck.text_literal(name) for name in may)
        passes = f"list_has_all([{listed}], d.reasons)"
    grouped = ", ".join(names)
    rows = source.table(
        f"SELECT {grouped}, count(*) AS passing, count(*) FILTER (WHERE kept) AS kept "
        f"FROM (SELECT {source.kept} AS kept, {bins} {source.scope} AND {passes}) "
        f"GROUP BY {grouped} ORDER BY {grouped}"
    )
    columns = [rows[name].to_numpy().astype(np.int64) for name in names]
    return Cells(
        np.stack(columns, axis=1),
        rows["passing"].to_numpy().astype(np.int64),
        rows["kept"].to_numpy().astype(np.int64),
    )


def add_up(panel: Panel, cells: Cells, positions: Sequence[int | None]) -> tuple[int, int]:
    """Return the rows that pass, and those of them that the snapshot keeps.

    Args:
        panel: The sliders.
        cells: The counts.
        positions: Where each slider stands, as a place in its stops; null for off.
    """
    inside = let_through(panel, cells, positions)
    return int(cells.passing[inside].sum()), int(cells.kept[inside].sum())


def let_through(
    panel: Panel, cells: Cells, positions: Sequence[int | None], without: int | None = None
) -> NDArray[np.bool_]:
    """Say which cells all sliders let through, but those of the column `without`."""
    inside = np.ones(len(cells.passing), np.bool_)
    for slider, position in zip(panel.sliders, positions, strict=True):
        if position is not None and slider.dimension != without:
            cut = slider.stops[position]
            bins = cells.bins[:, slider.dimension]
            # Bin `cut + 2` is the first behind the cut; null is on neither side.
            inside &= bins >= cut + 2 if slider.is_lower else (bins >= 1) & (bins <= cut + 1)
    return inside


def encode(cells: Cells, panel: Panel) -> str:
    """Pack cells into base64: for each the distance to the one before, and its two counts.

    A cell's number has the bin of the last column as its lowest digit. Numbers are unsigned LEB128.
    """
    numbers = np.zeros(len(cells.passing), np.int64)
    for column, dimension in enumerate(panel.dimensions):
        numbers = numbers * dimension.num_bins + cells.bins[:, column]
    gaps = np.diff(numbers, prepend=0)
    packed = bytearray()
    for value in np.stack([gaps, cells.passing, cells.kept], axis=1).ravel().tolist():
        while value > 127:
            packed.append(value & 127 | 128)
            value >>= 7
        packed.append(value)
    return base64.b64encode(packed).decode()
