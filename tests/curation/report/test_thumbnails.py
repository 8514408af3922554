"""Thumbnails hold pixels and nothing else."""

import base64
import io

import pyarrow as pa
import pytest
from PIL import Image

from curation.dataset import Dataset
from curation.report.draws import Place
from curation.report.thumbnails import CHIP, PICTURE, Thumbnail, make_thumbnails
from curation.tables import write_table
from schemas import dataset as layout
from schemas.images import IMAGES
from tests.curation.report.report_dataset import picture

SECRET = b"at home, 52.5 N"


def photo(size):
    """Encode a JPEG with EXIF that nobody shall see."""
    image = Image.fromarray(picture(1, size=size))
    exif = image.getexif()
    exif[0x010E] = SECRET.decode()
    sink = io.BytesIO()
    image.save(sink, "JPEG", exif=exif)
    return sink.getvalue()


@pytest.fixture
def dataset(tmp_path):
    """One shard of 70 rows, so two row groups: a photograph last, broken bytes before it."""
    made = Dataset.open_or_create(str(tmp_path / "data"))
    rows = [{"shard": 0, "row": n, "image_bytes": b"no image"} for n in range(69)]
    rows.append({"shard": 0, "row": 69, "image_bytes": photo(400)})
    write_table(made.store, layout.images_path(0), pa.Table.from_pylist(rows, schema=IMAGES))
    return made


def decoded(thumbnail):
    head, _, data = thumbnail.uri.partition(",")
    assert head == "data:image/webp;base64"
    return base64.b64decode(data)


def test_sizes_are_as_asked(dataset):
    """One picture is whole, the other a square; both of the row that was asked for."""
    place = Place(0, 69)

    found = make_thumbnails(dataset, {place: {PICTURE, CHIP}}, ("file",))

    whole, square = found[place, PICTURE], found[place, CHIP]
    assert isinstance(whole, Thumbnail)
    assert isinstance(square, Thumbnail)
    assert max(whole.width, whole.height) == 160
    assert (square.width, square.height) == (80, 80)
    assert Image.open(io.BytesIO(decoded(whole))).size == (whole.width, whole.height)


def test_metadata_of_the_file_is_gone(dataset):
    """What a camera wrote beside the pixels is not in the thumbnail."""
    assert SECRET in photo(400)

    found = make_thumbnails(dataset, {Place(0, 69): {PICTURE}}, ("file",))

    data = decoded(found[Place(0, 69), PICTURE])
    assert SECRET not in data
    assert b"EXIF" not in data
    assert dict(Image.open(io.BytesIO(data)).getexif()) == {}


def test_what_cannot_be_shown_says_why(dataset):
    """A broken file beside a good one is an error, and nobody else's."""
    wanted = {Place(0, 3): {PICTURE}, Place(0, 69): {PICTURE}}

    found = make_thumbnails(dataset, wanted, ("file",))

    assert str(found[Place(0, 3), PICTURE]).startswith("unsupported:")
    assert isinstance(found[Place(0, 69), PICTURE], Thumbnail)
