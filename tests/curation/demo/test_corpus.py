"""A corpus as a whole: the same every time, complete, and true."""

import hashlib
import os

import pyarrow.parquet as pq
import pytest
from PIL import Image

from curation.demo import make_corpus
from curation.demo.broken import BROKEN
from curation.demo.odd import ODD
from curation.errors import UsageError
from curation.ingest.identity import decode_key


def files_below(folder):
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {os.fsencode(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    out = tmp_path_factory.mktemp("corpus") / "out"
    return make_corpus(out, images=160, seed=1, workers=1, mean_megapixels=0.02)


def test_two_processes_write_the_bytes_that_one_writes(tmp_path):
    """Neither the number of workers nor the folder changes a byte, the tables' among them."""
    for workers in (1, 2):
        make_corpus(
            tmp_path / str(workers), images=40, seed=9, workers=workers, mean_megapixels=0.02
        )

    assert files_below(tmp_path / "1") == files_below(tmp_path / "2")


def test_another_seed_is_another_corpus(tmp_path):
    """No picture of one seed is in the corpus of another."""
    digests = []
    for seed in (1, 2):
        made = make_corpus(
            tmp_path / str(seed), images=20, seed=seed, workers=1, mean_megapixels=0.02
        )
        digests.append(set(pq.read_table(made.truth).column("content_sha256").to_pylist()))

    assert not digests[0] & digests[1]


def test_truth_has_a_row_for_every_file_and_says_what_is_in_it(corpus):
    """Paths, sizes and digests are those of the files; nothing else lies among the images."""
    rows = pq.read_table(corpus.truth).to_pylist()
    found = files_below(corpus.images)

    assert [row["path"] for row in rows] == sorted(row["path"] for row in rows)
    assert {decode_key(row["path"]) for row in rows} == set(found)
    for row in rows:
        data = found[decode_key(row["path"])]
        assert row["num_bytes"] == len(data)
        assert row["content_sha256"] == hashlib.sha256(data).hexdigest()


def test_every_broken_and_every_odd_kind_is_there(corpus):
    """From 150 images on no kind is missing."""
    rows = pq.read_table(corpus.truth).to_pylist()
    details = {row["detail"] for row in rows}

    assert details >= set(BROKEN) | set(ODD)
    assert {row["expect_error"] for row in rows if row["kind"] == "broken"} == {
        "bomb",
        "empty",
        "truncated",
        "undecodable",
        "unsupported",
    }


def test_exact_copies_have_the_bytes_of_what_they_copy_and_near_copies_do_not(corpus):
    """`copy_of` leads to a file of the same source."""
    rows = {row["path"]: row for row in pq.read_table(corpus.truth).to_pylist()}
    copies = [row for row in rows.values() if row["copy_of"]]

    assert {row["kind"] for row in copies} == {"exact_copy", "near_copy"}
    for row in copies:
        parent = rows[row["copy_of"]]
        assert row["source"] == parent["source"]
        same = row["content_sha256"] == parent["content_sha256"]
        assert same == (row["kind"] == "exact_copy")
        assert (row["edit"] is None) == same


def test_unique_images_have_bytes_of_their_own(corpus):
    """No two originals are one file."""
    rows = pq.read_table(corpus.truth).to_pylist()
    digests = [row["content_sha256"] for row in rows if row["kind"] == "unique"]

    assert len(set(digests)) == len(digests) > 80


def test_summary_counts_what_was_written(corpus):
    """The summary agrees with the tables."""
    assert sum(corpus.num_files.values()) == pq.read_metadata(corpus.truth).num_rows == 160
    assert corpus.num_bytes == sum(len(data) for data in files_below(corpus.images).values())
    labels = pq.read_table(corpus.pairs).column("label").to_pylist()
    assert corpus.num_positive_pairs == labels.count("positive") > 0


def test_progress_ends_with_all_images(tmp_path):
    """The callback hears of files made, and last of all of them."""
    heard = []
    make_corpus(
        tmp_path / "out",
        images=12,
        seed=0,
        workers=1,
        mean_megapixels=0.02,
        progress=lambda done, total: heard.append((done, total)),
    )

    assert heard[-1] == (12, 12)
    assert heard == sorted(heard)


def test_a_corpus_of_one_image_is_one_image(tmp_path):
    """Small corpora have what fits."""
    made = make_corpus(tmp_path / "out", images=1, seed=0, workers=1, mean_megapixels=0.02)

    (path,) = (path for path in made.images.rglob("*") if path.is_file())
    with Image.open(path) as picture:
        picture.load()
    assert made.num_files == {"unique": 1}


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    """Nothing is ever mixed into an existing folder."""
    (tmp_path / "mine.txt").write_text("mine")

    with pytest.raises(UsageError, match="not an empty folder"):
        make_corpus(tmp_path, images=5, seed=0)


@pytest.mark.parametrize("numbers", [{"images": 0}, {"workers": 0}, {"mean_megapixels": 0.0}])
def test_numbers_out_of_range_are_refused(tmp_path, numbers):
    """In a sentence, before anything is written."""
    with pytest.raises(UsageError, match="A demo corpus needs"):
        make_corpus(tmp_path / "out", **{"images": 5, "seed": 0, **numbers})
    assert not (tmp_path / "out").exists()
