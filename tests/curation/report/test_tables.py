"""The smaller sections: errors, origins, runs and provenance."""

from dataclasses import replace

from curation.report.errors import count_errors
from curation.report.origins import count_origins, count_totals
from curation.report.provenance import trace
from curation.report.runs import read_runs
from tests.curation.report.report_dataset import HOSTILE_NAME, NUM_BROKEN, NUM_FILES, lake_files


def test_errors_are_counted_by_instance_and_code(source):
    """Each code has its count, its words and keys to look at."""
    found = {(e.instance, e.code): e for e in count_errors(source)}

    empty = found["inspect", "empty"]
    assert (empty.num_rows, empty.text) == (1, "the file has no bytes")
    assert empty.keys == ("broken/empty.png",)
    assert found["embed", "unsupported"].keys == (HOSTILE_NAME,)
    assert found["aesthetic", "missing_input"].num_rows == NUM_BROKEN
    assert not empty.is_transient


def test_totals_are_of_the_originals(source):
    """Bytes are those of the files that were taken in."""
    totals = count_totals(source)

    assert totals.num_rows == NUM_FILES
    assert totals.num_bytes == sum(len(data) for _, data in lake_files())
    assert 0 < totals.kept_bytes < totals.num_bytes


def test_origins_count_all_and_kept(source):
    """There is one source, and one format of what could be decoded."""
    found = {origin.title: origin.values for origin in count_origins(source)}

    (lake,) = found["Source"]
    assert (lake.value, lake.num_rows, lake.num_kept) == ("lake", NUM_FILES, 12)
    (png,) = found["Format"]
    assert (png.value, png.num_rows, png.num_kept) == ("PNG", NUM_FILES - NUM_BROKEN, 12)
    assert "Licence" not in found


def test_runs_add_up_in_the_order_of_the_pipeline(source):
    """The work of every instance is there, ingest first."""
    runs = read_runs(source)

    assert [step.instance for step in runs.steps] == ["images", *[i.name for i in source.instances]]
    assert all(step.rows == NUM_FILES for step in runs.steps)
    assert (runs.num_runs, runs.num_read, len(runs.latest)) == (1, 1, 1)
    assert runs.latest[0].is_complete


def test_provenance_names_what_the_snapshot_read(source):
    """Fingerprints now and then are the same, and an instance that was not read has none."""
    found = {parent.instance: parent for parent in trace(source).parents}

    assert found["inspect"].recorded == found["inspect"].fingerprint != ""
    assert found["embed"].recorded == ""
    assert trace(source).changed == ()


def test_provenance_tells_of_instances_that_changed(source):
    """An instance with another fingerprint, or one that is gone, has changed."""
    without = replace(source, instances=source.instances[1:])

    assert trace(without).changed == ("inspect",)
