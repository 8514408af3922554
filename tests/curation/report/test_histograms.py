"""What is measured, counted and drawn."""

import itertools
from dataclasses import replace

import pytest

from curation.report.histograms import EDGE, HEIGHT, WIDTH, draw, make_histograms
from curation.report.measures import Counts, Measure, count_measures, find_measures
from curation.report.scales import ZERO_BIN, Scale
from curation.report.thresholds import Threshold
from curation.report.wording import tick
from tests.curation.report.report_dataset import NUM_BROKEN, NUM_FILES

LINEAR = Measure("score", "A score.", "0..100", "r.score", Scale("linear", 0, 100))
LOG = Measure("size", "A size.", "px", "r.size", Scale("log"))
WHOLE = Measure("bits", "Bits.", "bits", "r.bits", Scale("whole"))


def test_every_number_with_a_unit_is_measured(source):
    """Columns of all instances and two derived sizes, but no hashes, numbers or vectors."""
    names = [measure.name for measure in find_measures(source)]

    assert {"area_mp", "aspect_ratio", "num_bytes", "inspect_width", "aesthetic_score"} <= set(
        names
    )
    assert {"inspect_phash", "categorize_leaf", "embed_vector", "shard"} & set(names) == set()


def test_counts_are_of_rows_with_a_value(source):
    """All rows that could be decoded count once, and so do those that are kept."""
    counts = count_measures(source, find_measures(source))

    for name in ("inspect_width", "inspect_entropy", "aesthetic_score", "aspect_ratio"):
        assert sum(counts[name].all.values()) == NUM_FILES - NUM_BROKEN
        assert sum(counts[name].kept.values()) == 12
    assert counts["num_bytes"].all[ZERO_BIN] == 1


def test_kept_rows_are_those_of_the_predicates(source):
    """No kept image is smaller than the predicate allows."""
    scale = Scale("log")
    (width,) = [m for m in find_measures(source) if m.name == "inspect_width"]

    counts = count_measures(source, [width])["inspect_width"]

    assert min(counts.all) < int(scale.position(64)) <= min(counts.kept)


def test_histograms_of_one_value_are_only_mentioned(source):
    """What is the same for all rows needs no drawing."""
    found = make_histograms(source)

    assert "inspect_bits_per_sample" in [measure.name for measure, _ in found.constant]
    assert "inspect_bits_per_sample" not in [h.measure.name for h in found.drawn]


def test_thresholds_of_the_snapshot_are_marked(source):
    """The size predicate is drawn into both of its columns."""
    drawn = {h.measure.name: h for h in make_histograms(source).drawn}

    (mark,) = drawn["inspect_width"].marks
    assert (mark.threshold.predicate, mark.threshold.value) == ("size", 64)
    assert (mark.out_x, mark.out_width) == (0, mark.x)
    assert 0 < mark.x < WIDTH


def test_bars_hold_every_row():
    """Joining bins loses nothing, and the tallest bar fills the plot."""
    counts = Counts({n: 1 + n % 7 for n in range(0, 1200, 3)}, dict.fromkeys(range(300, 900, 3), 1))

    found = draw(LINEAR, counts, [])

    assert len(found.bars) <= 44
    assert sum(bar.num_all for bar in found.bars) == found.num_all == sum(counts.all.values())
    assert sum(bar.num_kept for bar in found.bars) == found.num_kept == 200
    heights = [h for bar in found.bars for h in (bar.all_height, bar.kept_height)]
    assert max(heights) == pytest.approx(HEIGHT)
    assert found.bars[-1].x + found.bars[-1].width == pytest.approx(WIDTH)


def test_outliers_do_not_squeeze_the_rest():
    """A single far value joins the last bar, whose reach says so."""
    counts = Counts({200 + n: 50 for n in range(40)} | {900: 1}, {})

    found = draw(LOG, counts, [])

    assert found.num_all == 2001
    assert len(found.bars) == 40
    assert found.bars[-1].num_all == 51
    assert found.bars[-1].high == pytest.approx(LOG.scale.edge(901))


def test_zero_stands_apart_on_a_logarithmic_scale():
    """Its bar is the first, a gap before the others."""
    found = draw(LOG, Counts({ZERO_BIN: 5, 240: 3, 250: 2}, {240: 1}), [])

    assert (found.bars[0].low, found.bars[0].high, found.bars[0].num_all) == (0, 0, 5)
    assert found.bars[1].num_all == 0
    assert found.ticks[0][1] == 0


def test_whole_numbers_have_a_bar_each():
    """Few values are not joined, and a threshold lies between bars."""
    above = Threshold("p", "bits", ">", 2)

    found = draw(WHOLE, Counts({0: 4, 2: 2, 8: 1}, {0: 1}), [above])

    assert [bar.num_all for bar in found.bars] == [4, 0, 2, 0, 0, 0, 0, 0, 1]
    assert found.marks[0].x == pytest.approx(WIDTH * 3 / 9)


def test_a_threshold_near_the_values_widens_the_plot():
    """What a predicate leaves out is seen even where nothing lies."""
    below = Threshold("p", "score", ">=", 40)

    found = draw(LINEAR, Counts({600 + n: 9 for n in range(400)}, {}), [below])

    assert found.bars[0].low < 40
    assert 0 < found.marks[0].x < WIDTH / 4


def test_labels_of_the_axis_do_not_touch():
    """Of ticks that lie close together on a logarithmic scale, some have no label."""
    scale = Scale("log")
    spread = dict.fromkeys(range(int(scale.position(0.01)), int(scale.position(9000))), 5)

    histogram = draw(LOG, Counts({**spread, ZERO_BIN: 40}, {}), [])

    ticks = histogram.ticks
    assert len(ticks) >= 3
    for (left, one), (right, two) in itertools.pairwise(ticks):
        letters = (len(tick(one, "px")) + len(tick(two, "px"))) / 2
        assert right - left > 5.5 * letters - EDGE


def test_medians_are_of_each_series():
    """The median row's bin is named, whatever bars are drawn."""
    counts = Counts({100: 10, 500: 11, 900: 10}, {900: 1})

    found = draw(LINEAR, counts, [])

    assert found.median_all == pytest.approx(500.5 / 12)
    assert found.median_kept == pytest.approx(900.5 / 12)


def test_without_a_snapshot_nothing_is_kept(source):
    """All rows are drawn, and no outline."""
    found = make_histograms(replace(source, manifest=None))

    assert all(h.num_kept == 0 and h.median_kept is None for h in found.drawn)
    assert {h.num_all for h in found.drawn} <= {NUM_FILES, NUM_FILES - NUM_BROKEN, 6}
