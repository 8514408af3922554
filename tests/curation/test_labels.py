"""Labelled files, joined with what stages wrote."""

import uuid

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.dataset import Dataset
from curation.errors import UsageError
from curation.labels import find_labelled, read_labels
from tests.fakes.inline_runner import InlineRunner
from tests.fakes.lake import image_bytes, make_lake, write_files
from tests.fakes.runs import find, make_session, read_images, read_instance


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Images in several shards; one of them was changed and is there twice, one is broken."""
    folder = tmp_path_factory.mktemp("labels")
    lake = make_lake(folder / "lake", 25)
    session = make_session(folder / "data", lake, {"luma": None})
    assert session.run(InlineRunner, runner_name="inline").complete
    write_files(lake, [("d1/img001.png", image_bytes("another.png") + b" ")])
    assert session.run(InlineRunner, runner_name="inline").complete
    return session


def labelled(session, path):
    dataset = Dataset.open(session.config.dataset)
    return find_labelled(dataset, read_labels(path), {"luma": (find(session, "luma"), "mean")})


def written(session):
    """Return key -> the value of its last row, and its image id."""
    images = read_images(session, ["image_id", "source_key"]).to_pylist()
    values = read_instance(session, "luma")["luma_mean"].to_pylist()
    found = {}
    for image, value in zip(images, values, strict=True):
        found[image["source_key"]] = (value, image["image_id"])
    return found


def test_images_are_found_by_key_and_by_id(session, tmp_path):
    """Both name a row, with or without the source's name; the order is that of the dataset."""
    known = written(session)
    keys = ["d1/img022.png", "d1/img001.png", "d0/img003.png"]
    image_id = uuid.UUID(bytes=known["d2/img005.jpg"][1])
    path = tmp_path / "labels.csv"
    path.write_text(
        "\ufeffimage_id,source_name,source_key,label\n"
        f",,{keys[0]},a\n,lake,{keys[1]}, b \n,other,{keys[2]},c\n{image_id},,,d\n,,gone.png,e\n",
        encoding="utf-8",
    )

    found = labelled(session, path)

    by_label = dict(
        zip((r["label"] for r in found.labels), found.columns["luma"].to_pylist(), strict=True)
    )
    assert by_label == {
        "a": known[keys[0]][0],
        "b": known[keys[1]][0],
        "d": known["d2/img005.jpg"][0],
    }
    assert (found.num_unknown, found.num_without) == (2, 0)


def test_images_without_a_value_are_counted(session, tmp_path):
    """A row that has an error, and shards that a stage has not finished, are left out."""
    path = tmp_path / "labels.parquet"
    keys = ["d0/empty.jpg", "d0/img003.png"]
    pq.write_table(pa.table({"source_key": keys, "label": [1, 0]}), path)

    found = labelled(session, path)

    assert [row["label"] for row in found.labels] == ["0"]
    assert (found.num_unknown, found.num_without) == (0, 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("source_key,label\n,a\n", "row 1: says neither"),
        ("image_id,label\nx,a\n", "row 1: 'x' is no image_id"),
        ("source_key\nd0/img003.png\n", "has no column of labels"),
        ("label\na\n", "expected a column image_id or source_key"),
        ("source_key,label\ngone.png,a\n", "names no image of"),
        ("source_key,label\nd0/empty.jpg,a\n", "none of its images has values of luma yet"),
        ("", "expected a column"),
    ],
)
def test_files_that_say_nothing_are_refused(session, tmp_path, text, words):
    """The sentence names the file, and the row where it is one row's fault."""
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(UsageError) as caught:
        labelled(session, path)

    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_unreadable_files_are_refused(tmp_path):
    """A missing file, bytes that are no text, and a Parquet file that is none."""
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00a")
    (tmp_path / "x.parquet").write_bytes(b"PAR1")

    for name in ("none.csv", "x.csv", "x.parquet"):
        with pytest.raises(UsageError, match="cannot be read"):
            read_labels(tmp_path / name)
