"""Captions go into the training table, for the kept rows, as the caption stage wrote them."""

import pyarrow as pa
import pytest

from curation.errors import SnapshotError
from curation.snapshot.read import read_manifest, read_parts
from jobs.snapshot import create_snapshot
from tests.curation.kept_dataset import run, write_pipeline

CAPTION = "stages.caption={category: false, variants: [tags, short]}"


def training_rows(dataset, snapshot):
    manifest = read_manifest(dataset, snapshot)
    return manifest, pa.concat_tables(read_parts(dataset, manifest, "data")).to_pylist()


def test_the_training_table_has_the_captions_of_the_kept_rows(tmp_path):
    """Every variant with its language; broken files are not kept, so all rows have some."""
    pipeline = write_pipeline(tmp_path)
    dataset = run(pipeline, CAPTION)

    manifest, rows = training_rows(dataset, create_snapshot(pipeline, [CAPTION]).manifest.id)

    (fingerprint,) = dataset.store.names("caption")
    written = {
        (row["shard"], row["row"]): row["caption_captions"]
        for shard in dataset.instance_shards("caption", fingerprint)
        for row in dataset.read_instance("caption", fingerprint, shard).to_pylist()
    }
    assert len(rows) > 5
    assert all(row["captions"] == written[row["shard"], row["row"]] for row in rows)
    assert [caption["variant"] for caption in rows[0]["captions"]] == ["tags", "short"]
    assert manifest.content.parents["caption"].fingerprint == fingerprint


def test_other_captions_are_another_snapshot(tmp_path):
    """Training on other words is training on something else."""
    pipeline = write_pipeline(tmp_path)
    run(pipeline, CAPTION)
    run(pipeline, "stages.caption={category: false, variants: [long]}")

    first = create_snapshot(pipeline, [CAPTION]).manifest
    second = create_snapshot(pipeline, ["stages.caption={category: false, variants: [long]}"])

    assert first.content.decisions == second.manifest.content.decisions
    assert first.id != second.manifest.id


def test_captions_that_are_missing_are_waited_for(tmp_path):
    """As any other column that a snapshot needs."""
    pipeline = write_pipeline(tmp_path)
    run(pipeline)

    with pytest.raises(SnapshotError, match="caption lacks 2 of 2 shards"):
        create_snapshot(pipeline, [CAPTION])


def test_without_a_caption_stage_there_are_none(tmp_path):
    """An empty list, not null: a loader need not ask."""
    pipeline = write_pipeline(tmp_path)
    dataset = run(pipeline)

    _, rows = training_rows(dataset, create_snapshot(pipeline).manifest.id)

    assert {len(row["captions"]) for row in rows} == {0}
