"""Joint counts give what DuckDB counts, wherever the sliders stand."""

import base64
import random

import pytest

from curation.report.joint_counts import add_up, count_cells, encode
from curation.report.sliders import literal, make_panel


@pytest.fixture(scope="module")
def panel(source):
    found = make_panel(source, 12)
    assert found is not None
    return found


def asked(source, panel, positions):
    """Ask DuckDB for what the cells should give."""
    sql = {p.name: p.sql for p in source.manifest.content.where if p.name not in panel.released}
    terms = [f"({text})" for text in sql.values()]
    for slider, position in zip(panel.sliders, positions, strict=True):
        if position is not None:
            dimension = panel.dimensions[slider.dimension]
            value = literal(dimension.cuts[slider.stops[position]].value)
            terms.append(f"{dimension.measure.name} {slider.operator} {value}")
    (row,) = source.ask(
        "SELECT count(*) AS passing, count(*) FILTER (WHERE d.kept) AS kept "
        f"{source.scope} AND {' AND '.join(terms)}"
    )
    return row["passing"], row["kept"]


def test_any_positions_give_what_duckdb_counts(source, panel):
    """Thresholds tightened, loosened and dropped, alone and together."""
    cells = count_cells(source, panel)
    draw = random.Random(3)
    tried = [[None if s.start is None else s.start for s in panel.sliders]]
    tried += [[draw.choice([None, *range(len(s.stops))]) for s in panel.sliders] for _ in range(25)]
    found = [add_up(panel, cells, positions) for positions in tried]

    assert found == [asked(source, panel, positions) for positions in tried]
    assert len(set(found)) > 5


def test_at_the_start_all_of_the_snapshot_passes(source, panel):
    """What is kept is what the manifest says."""
    passing, kept = add_up(panel, count_cells(source, panel), [s.start for s in panel.sliders])

    assert kept == source.manifest.conservation.kept
    reasons = source.manifest.reasons
    assert passing == kept + reasons["duplicate"] + reasons["unsampled"]


def test_encoded_cells_are_read_back(source, panel):
    """Numbers of any length come back: distances of cells and both counts."""
    cells = count_cells(source, panel)
    cells.passing[0] = 300_000_001

    packed = base64.b64decode(encode(cells, panel))

    numbers, value, shift = [], 0, 0
    for byte in packed:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            numbers.append(value)
            value = shift = 0
    assert numbers[1::3] == cells.passing.tolist()
    assert numbers[2::3] == cells.kept.tolist()
    place = 0
    for gap, bins in zip(numbers[::3], cells.bins.tolist(), strict=True):
        place += gap
        expected = 0
        for column, dimension in enumerate(panel.dimensions):
            expected = expected * dimension.num_bins + bins[column]
        assert place == expected
