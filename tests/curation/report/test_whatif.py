"""What the page shows of thresholds, before any of them is moved."""

import json
from dataclasses import replace

import pytest

from curation.report import whatif
from curation.report.whatif import escape, make_what_if


def test_bars_are_those_that_the_other_sliders_let_through(source):
    """Small pictures are shown beside the threshold that leaves them out, and marked."""
    found = make_what_if(source)

    assert found is not None
    width = found.charts[0]
    assert len(width.bars) == len(width.dimension.cuts) + 1
    limit = [cut.value for cut in width.dimension.cuts].index(64)
    assert width.out == frozenset(range(limit + 1))
    assert max(height for _, _, height in width.bars) == pytest.approx(whatif.BARS_HEIGHT)
    (control,) = width.controls
    assert control.labels[0] == "off"
    assert control.labels[control.start] == ">= 64"


def test_the_page_gets_no_more_cells_than_it_can_hold(source, monkeypatch):
    """Columns get fewer cuts then, and the threshold stays among them."""
    whole = make_what_if(source)
    assert whole is not None
    monkeypatch.setattr(whatif, "MOST_CELLS", whole.num_cells // 2)

    found = make_what_if(source)

    assert found is not None
    assert found.num_cells <= whole.num_cells // 2
    assert (found.passing, found.kept) == (whole.passing, whole.kept)
    assert found.charts[0].controls[0].labels[found.charts[0].controls[0].start] == ">= 64"


def test_without_a_snapshot_all_images_are_counted(source):
    """Thresholds can be tried before the first snapshot is made."""
    found = make_what_if(replace(source, manifest=None))

    assert found is not None
    assert found.passing == source.manifest.conservation.images
    assert found.kept == 0
    assert [chart.dimension.measure.name for chart in found.charts] == ["aesthetic_score"]


def test_nothing_measured_has_no_sliders(source):
    """A dataset without scores or thresholds has no such section."""
    assert make_what_if(replace(source, manifest=None, instances=source.instances[:1])) is None


def test_json_in_the_page_ends_no_markup():
    """Markup in JSON is written as escapes and read as it was."""
    text = json.dumps({"a": "</script><!-- & \u2028"}, ensure_ascii=False)

    escaped = escape(text)

    assert not set("<>&\u2028") & set(escaped)
    assert json.loads(escaped) == json.loads(text)
