"""What other thresholds would keep: sliders, their bars, and the counts behind them."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.report.joint_counts import Cells, add_up, count_cells, encode, let_through
from curation.report.sliders import Dimension, Panel, Slider, literal, make_panel
from curation.report.source import Source

MOST_CELLS = 150_000
"""Cells in the page, about four bytes each; more, and columns get fewer cuts."""

_MOST_STOPS = (40, 24, 16, 10, 6, 3)
BARS_HEIGHT = 40.0
BARS_WIDTH = 300.0
_MOST_TICKS = 6


@dataclass(frozen=True)
class Control:
    """A slider as the page shows it.

    Attributes:
        name: Of its input in the page.
        label: What it is called for those who do not see the page.
        slider: What it is.
        labels: What it says at each of its positions, from the left.
        start: The position of the snapshot's threshold.
    """

    name: str
    label: str
    slider: Slider
    labels: tuple[str, ...]
    start: int


@dataclass(frozen=True)
class Chart:
    """A column: its bars and its sliders.

    Attributes:
        dimension: The column and its cuts.
        bars: (x, width, height) of each bin but null, in units of the drawing: rows that all other
            sliders let through, where they start, for the width of the bin.
        out: Places of the bars that its own sliders leave out.
        ticks: (x, value) of the axis.
        controls: Its sliders.
    """

    dimension: Dimension
    bars: tuple[tuple[float, float, float], ...]
    out: frozenset[int]
    ticks: tuple[tuple[float, float], ...]
    controls: tuple[Control, ...]


@dataclass(frozen=True)
class WhatIf:
    """Sliders, and what is counted where they start.

    Attributes:
        charts: The columns.
        passing: Images that pass every predicate, before duplicates and sampling.
        kept: Images of the snapshot.
        payload: What the page's script reads, as JSON that no markup can end.
        num_cells: Cells in it.
    """

    charts: tuple[Chart, ...]
    passing: int
    kept: int
    payload: str
    num_cells: int


def make_what_if(source: Source) -> WhatIf | None:
    """Count the cells; null where there is nothing to move."""
    found = _count(source)
    if found is None:
        return None
    panel, cells = found
    start = [slider.start for slider in panel.sliders]
    passing, kept = add_up(panel, cells, start)
    return WhatIf(
        tuple(_chart(panel, cells, number) for number in range(len(panel.dimensions))),
        passing,
        kept,
        escape(_payload(panel, cells)),
        len(cells.passing),
    )


def _count(source: Source) -> tuple[Panel, Cells] | None:
    """Count with as many stops as give no more cells than the page may hold."""
    found = None
    for most_stops in _MOST_STOPS:
        panel = make_panel(source, most_stops)
        if panel is None:
            return None
        found = panel, count_cells(source, panel)
        if len(found[1].passing) <= MOST_CELLS:
            break
    return found


def escape(text: str) -> str:
    """Return JSON in which no character can end or open markup, for a script element."""
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _chart(panel: Panel, cells: Cells, number: int) -> Chart:
    dimension = panel.dimensions[number]
    start = [slider.start for slider in panel.sliders]
    inside = let_through(panel, cells, start, number)
    bins = cells.bins[inside, number]
    counts = np.bincount(bins, weights=cells.passing[inside], minlength=dimension.num_bins)[1:]
    density = counts / _widths(dimension)
    tallest = max(float(density.max()), 1e-9)
    width = BARS_WIDTH / len(counts)
    own = [slider for slider in panel.sliders if slider.dimension == number]
    controls = [
        _control(dimension, slider, place)
        for place, slider in enumerate(panel.sliders)
        if slider.dimension == number
    ]
    return Chart(
        dimension,
        tuple(
            (place * width, width, BARS_HEIGHT * float(height) / tallest)
            for place, height in enumerate(density)
        ),
        frozenset(
            int(place) - 1 for place in range(1, dimension.num_bins) if not _stays(own, place)
        ),
        tuple(((place + 1) * width, dimension.cuts[place].value) for place in _spread(dimension)),
        tuple(controls),
    )


def _widths(dimension: Dimension) -> NDArray[np.float64]:
    """Return how wide each bin but null is on the scale of its column, the middle one being 1.

    Round stops are not evenly apart; without this, bars would rise and fall with their distances.
    Bins that are open at one end or hold one value only count as the middle one.
    """
    scale = dimension.measure.scale
    places = np.array([scale.position(cut.value) for cut in dimension.cuts])
    inner = np.diff(places)
    good = np.isfinite(inner) & (inner > 0)
    middle = float(np.median(inner[good])) if good.any() else 1.0
    widths = np.ones(len(places) + 1)
    widths[1:-1] = np.where(good, inner, middle) / middle
    return widths


def _stays(sliders: list[Slider], place: int) -> bool:
    """Say whether the sliders of a column let a bin through where they start."""
    for slider in sliders:
        if slider.start is not None:
            cut = slider.stops[slider.start]
            if place < cut + 2 if slider.is_lower else place > cut + 1:
                return False
    return True


def _spread(dimension: Dimension) -> Sequence[int]:
    """Return the places of a few cuts that bear a label: round ones, or others evenly apart."""
    scale, cuts = dimension.measure.scale, dimension.cuts
    ends = (scale.position(cuts[0].value), scale.position(cuts[-1].value))
    if math.isfinite(ends[0]) and ends[0] < ends[1]:
        values = scale.ticks(*ends, dimension.measure.unit)
        round_ones = [
            place
            for place, cut in enumerate(cuts)
            if any(math.isclose(cut.value, value, rel_tol=1e-9) for value in values)
        ]
        if 2 <= len(round_ones) <= _MOST_TICKS:
            return round_ones
    step = -(-len(cuts) // _MOST_TICKS)
    return range((len(cuts) - 1) % step // 2, len(cuts), step)


def _control(dimension: Dimension, slider: Slider, number: int) -> Control:
    name = dimension.measure.name
    off = 0 if slider.is_lower else len(slider.stops)
    start = off if slider.start is None else slider.start + int(slider.is_lower)
    side = "at least" if slider.is_lower else "at most"
    whose = f" ({slider.predicate})" if slider.predicate else ""
    return Control(
        f"slider-{number}", f"{name}, {side}{whose}", slider, _labels(dimension, slider), start
    )


def _labels(dimension: Dimension, slider: Slider) -> tuple[str, ...]:
    """Return what a slider says at each of its positions, from the left."""
    values = [f"{slider.operator} {literal(dimension.cuts[stop].value)}" for stop in slider.stops]
    return ("off", *values) if slider.is_lower else (*values, "off")


def _payload(panel: Panel, cells: Cells) -> str:
    content: dict[str, Any] = {
        "bins": [dimension.num_bins for dimension in panel.dimensions],
        "columns": [dimension.measure.name for dimension in panel.dimensions],
        "widths": [_widths(dimension).round(4).tolist() for dimension in panel.dimensions],
        "sliders": [
            {
                "column": slider.dimension,
                "lower": slider.is_lower,
                "labels": list(_labels(panel.dimensions[slider.dimension], slider)),
                "predicate": slider.predicate,
                "stops": list(slider.stops),
            }
            for slider in panel.sliders
        ],
        "cells": encode(cells, panel),
    }
    return json.dumps(content, separators=(",", ":"))
