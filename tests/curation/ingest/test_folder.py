"""Side-cars of files in folders."""

import pytest

from curation.ingest.folder import FolderConfig

LATER_NS = 1_800_000_000_000_000_000
CHANGED = "changed: the file differs from what was listed"


@pytest.fixture
def files(lake, write):
    content = {
        b"d/cat.jpg": b"1",
        b"d/cat.txt": b"a cat",
        b"d/dog.JPEG": b"2",
        b"d/dog.json": b'{"caption": "a dog", "license": "CC0"}',
        b"d/notes.txt": b"of nobody",
        b"cat.txt": b"in another folder",
    }
    write(lake, content)
    return content


def texts(rows):
    return {row["source_key"]: (row["alt_text"], row["license"], row["metadata"]) for row in rows}


def test_side_cars_are_texts_and_no_rows(files, source, rows_of):
    """Only beside an image of the same stem in the same folder."""
    assert texts(rows_of(source)) == {
        "cat.txt": (None, None, None),
        "d/cat.jpg": ("a cat", None, None),
        "d/dog.JPEG": ("a dog", "CC0", '{"caption":"a dog","license":"CC0"}'),
        "d/notes.txt": (None, None, None),
    }


def test_side_cars_can_be_rows(files, lake, rows_of):
    """With `sidecars: false` every file is one."""
    source = FolderConfig(name="lake", roots=(str(lake),), sidecars=False)

    assert [key.encode() for key in texts(rows_of(source))] == sorted(files)


def test_a_new_caption_makes_the_image_changed(files, lake, write, dataset, source, ingest, lines):
    """And one that came or went."""
    ingest(dataset, source)
    write(lake, {b"d/cat.txt": b"a red cat"})
    ingest(dataset, source)
    (lake / "d" / "dog.json").unlink()
    ingest(dataset, source)
    write(lake, {b"d/dog.txt": b"a dog again"})
    ingest(dataset, source)

    assert [lines(dataset, seq)[0] for seq in (1, 2, 3)] == [
        [("d/cat.jpg", "changed")],
        [("d/dog.JPEG", "changed")],
        [("d/dog.JPEG", "changed")],
    ]
    (row,) = dataset.read_images(4).to_pylist()
    assert row["alt_text"] == "a dog again"
    assert ingest(dataset, source) == []


@pytest.mark.parametrize("change", ["time", "gone"])
def test_a_side_car_that_differs_when_read_makes_the_row_changed(
    files, lake, write, dataset, source, make_shards, change
):
    """No caption comes in that was not listed."""
    from curation.ingest.work_list import freeze_lists

    list(freeze_lists(dataset, source))
    if change == "time":
        write(lake, {b"d/cat.txt": b"A CAT"}, LATER_NS)
    else:
        (lake / "d" / "cat.txt").unlink()
    make_shards(dataset, source)

    rows = dataset.read_images(0).to_pylist()
    assert [row["source_error"] for row in rows] == [None, CHANGED, None]
    assert rows[1]["image_bytes"] is None


def test_a_side_car_that_leads_out_of_the_root_is_not_read(lake, write, tmp_path, rows_of, source):
    """A link is no side-car, as it is no image."""
    write(lake, {b"a.jpg": b"1"})
    write(tmp_path, {b"secret": b"secret"})
    (lake / "a.txt").symlink_to(tmp_path / "secret")

    assert texts(rows_of(source)) == {"a.jpg": (None, None, None)}
