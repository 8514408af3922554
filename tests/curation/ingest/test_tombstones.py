"""What is forbidden stays forbidden."""

import pyarrow as pa

from curation.ingest.tombstones import Tombstones, add_tombstones, read_tombstones
from schemas.columns import SHA256, UUID
from schemas.tombstones import TOMBSTONES

ID, OTHER_ID = bytes(15) + b"\1", bytes(15) + b"\2"
CONTENT, OTHER_CONTENT = bytes(31) + b"\1", bytes(31) + b"\2"


def rows(image_id=None, content=None):
    values = {
        "image_id": [image_id],
        "content_sha256": [content],
        "reason": ["asked by the person shown"],
        "source": ["ticket 7"],
    }
    return pa.table(values, schema=TOMBSTONES)


def test_a_dataset_without_tombstones_forbids_nothing(dataset):
    """There need not be a folder."""
    found = read_tombstones(dataset)

    assert found == Tombstones()
    assert not found.match(ID, CONTENT)
    assert not found.match(ID, None)


def test_tombstones_add_up(dataset):
    """Files are read together, and adding the same rows again adds no file."""
    add_tombstones(dataset, rows(image_id=ID))
    add_tombstones(dataset, rows(content=CONTENT))
    add_tombstones(dataset, rows(content=CONTENT))

    assert len(dataset.store.names("tombstones")) == 2
    assert read_tombstones(dataset) == Tombstones(frozenset([ID]), frozenset([CONTENT]))


def test_an_image_matches_by_place_or_content():
    """Row by row and for whole columns alike."""
    tombstones = Tombstones(frozenset([ID]), frozenset([CONTENT]))
    images = [(ID, OTHER_CONTENT), (OTHER_ID, CONTENT), (OTHER_ID, OTHER_CONTENT), (OTHER_ID, None)]

    found = [tombstones.match(*image) for image in images]
    ids, contents = zip(*images, strict=True)
    mask = tombstones.mask(
        pa.chunked_array([pa.array(ids, UUID)]), pa.chunked_array([pa.array(contents, SHA256)])
    )

    assert found == [True, True, False, False]
    assert mask.to_pylist() == found
