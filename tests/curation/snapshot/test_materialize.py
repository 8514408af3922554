"""The training table with bytes, by aspect bucket."""

import numpy as np
import pyarrow as pa
import pytest

from curation.errors import SnapshotError
from curation.snapshot.config import ERNIE_IMAGE_BUCKETS, MaterializeConfig
from curation.snapshot.create import create_snapshot
from curation.snapshot.materialize import materialize_snapshot, nearest_buckets
from curation.snapshot.read import snapshot_path
from curation.tables import read_table, write_table
from schemas import dataset as layout
from schemas.training import MATERIALIZED
from tests.curation.snapshot.snapshot_dataset import Image, make_dataset

SIZES = [(1000, 1000), (640, 480), (480, 640), (1600, 900), (300, 300)]


def images(count=25):
    """Make images in the sizes above, with some bytes of their own."""
    return [
        Image(f"k{i}", content=bytes([i]) * 9000, width=SIZES[i % 5][0], height=SIZES[i % 5][1])
        for i in range(count)
    ]


def create(made):
    return create_snapshot(made.dataset, made.pipeline, made.instances, made.relations).manifest


def read_files(made, found):
    """Return file -> rows of a materialised table."""
    folder = snapshot_path(found.snapshot, f"materialized/{found.digest}")
    return {name: read_table(made.dataset.store, f"{folder}/{name}") for name in found.files}


def test_every_kept_image_is_there_once_with_its_bytes(tmp_path):
    """Files hold one bucket each, rows in order, and the bytes that were taken in."""
    made = make_dataset(tmp_path / "d", images(), where={"x": "source_key <> 'k7'"})

    found = materialize_snapshot(made.dataset, create(made).id, MaterializeConfig())

    rows = []
    for name, table in read_files(made, found).items():
        assert table.schema.names == MATERIALIZED.names
        buckets = {(r["bucket_width"], r["bucket_height"]) for r in table.to_pylist()}
        assert [f"{w}x{h}" for w, h in buckets] == [name.split("/")[0]]
        rows += table.to_pylist()
    by_id = {image.image_id: image for image in images() if image.key != "k7"}
    assert {row["image_id"] for row in rows} == set(by_id)
    assert len(rows) == 24
    assert all(row["image_bytes"] == by_id[row["image_id"]].content for row in rows)
    assert found.buckets == {"1024x1024": 10, "1200x896": 5, "896x1200": 4, "1376x768": 5}


def test_files_are_of_about_equal_size(tmp_path):
    """A bucket is cut evenly, so no small file is left at its end."""
    made = make_dataset(tmp_path / "d", images(100))
    config = MaterializeConfig(buckets=((1, 1),), file_bytes=300_000)

    found = materialize_snapshot(made.dataset, create(made).id, config)

    counts = [info.num_rows for _, info in sorted(found.files.items())]
    assert counts == [34, 33, 33]
    tables = [table for _, table in sorted(read_files(made, found).items())]
    places = [(r["shard"], r["row"]) for t in tables for r in t.to_pylist()]
    assert places == sorted(places)


def test_doing_it_again_writes_nothing_and_another_configuration_elsewhere(tmp_path):
    """The folder is named by what is in it."""
    made = make_dataset(tmp_path / "d", images())
    snapshot = create(made).id
    before = set(made.dataset.store.files(""))
    first = materialize_snapshot(made.dataset, snapshot, MaterializeConfig())
    between = {name: made.dataset.store.read(name) for name in made.dataset.store.files("")}

    again = materialize_snapshot(made.dataset, snapshot[:9], MaterializeConfig())
    other = materialize_snapshot(made.dataset, snapshot, MaterializeConfig(buckets=((512, 512),)))

    assert again == first
    assert other.digest != first.digest
    assert all(made.dataset.store.read(name) == data for name, data in between.items())
    added = set(between) - before
    assert all(name.startswith(snapshot_path(snapshot, "materialized/")) for name in added)


def test_an_image_without_size_is_refused(tmp_path):
    """Without width and height there is no bucket."""
    made = make_dataset(tmp_path / "d", images(3), stages=("aesthetic", "inspect"))
    bare = make_dataset(tmp_path / "e", images(3), stages=("categorize",))

    assert materialize_snapshot(made.dataset, create(made).id, MaterializeConfig()).files
    with pytest.raises(SnapshotError, match="3 kept images have no size.*inspect"):
        materialize_snapshot(bare.dataset, create(bare).id, MaterializeConfig())


def test_an_original_that_is_gone_is_named(tmp_path):
    """An image left in place that cannot be read any more stops it, in a sentence."""
    made = make_dataset(tmp_path / "d", images(2))
    shard = made.dataset.read_images(0)
    place = shard.schema.get_field_index("image_bytes")
    left = [shard["image_bytes"][0].as_py(), None]
    shard = shard.set_column(place, shard.schema.field(place), pa.array(left, pa.binary()))
    uris = pa.array(["file:///nowhere/a.jpg"] * 2)
    place = shard.schema.get_field_index("source_uri")
    shard = shard.set_column(place, shard.schema.field(place), uris)
    write_table(made.dataset.store, layout.images_path(0), shard)

    with pytest.raises(SnapshotError, match="shard 0, row 1: a kept image cannot be read"):
        materialize_snapshot(made.dataset, create(made).id, MaterializeConfig())


def test_the_nearest_bucket_is_by_ratio():
    """Size does not matter, and of equally near buckets the first one wins."""
    width = np.array([100, 4000, 1264, 1, 2000])
    height = np.array([100, 4001, 848, 50, 500])

    found = nearest_buckets(width, height, ERNIE_IMAGE_BUCKETS)

    assert [ERNIE_IMAGE_BUCKETS[i] for i in found] == [
        (1024, 1024),
        (1024, 1024),
        (1264, 848),
        (768, 1376),
        (1376, 768),
    ]
    assert nearest_buckets(np.array([1]), np.array([1]), [(2, 1), (1, 2)]).tolist() == [0]
