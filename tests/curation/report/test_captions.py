"""Captions are found by what columns are, and stand beside their pictures."""

import pyarrow as pa
import pytest

from curation.report.captions import CaptionColumn, _is_caption, find_captions, read_captions
from curation.report.page import make_page
from schemas.caption import CAPTION_MODEL
from tests.curation.report.report_dataset import (
    HOSTILE_CAPTION,
    run_pipeline,
    snapshot,
    source_of,
)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A source whose pipeline writes captions."""
    session = run_pipeline(
        tmp_path_factory.mktemp("captions"), more_stages="  told: {stage: saying}\n"
    )
    snapshot(session)
    return source_of(session)


def test_columns_are_found_by_type_and_name(told):
    """Lists of captions and texts called so; what only describes a caption is none."""
    assert [column.name for column in find_captions(told)] == [
        "told_captions",
        "told_short_caption",
        "alt_text",
    ]


def test_the_status_of_a_caption_is_none(tmp_path):
    """What the captioner of the pipeline says of its own work is not shown as a caption."""
    session = run_pipeline(tmp_path, more_stages="  caption: {}\n")

    names = [column.name for column in find_captions(source_of(session))]

    assert names == ["caption_captions", "alt_text"]


def test_what_a_model_says_besides_is_none():
    """Nor are the description, the model and its revision, which are text beside the captions."""
    names = CAPTION_MODEL.names
    found = [name for name in names if _is_caption("caption", name, CAPTION_MODEL.field(name).type)]

    assert found == ["captions"]


def test_a_pipeline_without_captions_has_the_files_own(source):
    """The alternative text that came with the files is all there may be."""
    assert [column.name for column in find_captions(source)] == ["alt_text"]


def test_pictures_have_their_captions(told):
    """Every kept picture has both, and is described by the first."""
    tiles = make_page(told).gallery.kept

    assert tiles
    for tile in tiles:
        long, short = tile.captions
        assert long.label == "long, en"
        assert long.text == f"{HOSTILE_CAPTION} {tile.key}"
        assert (short.label, short.text) == ("told short caption", "a wall")
        assert tile.words == long.text


def test_nulls_and_blanks_are_no_captions():
    """Neither is an entry without text."""
    columns = (CaptionColumn("a", "a"), CaptionColumn("b", "b"), CaptionColumn("c", "c"))
    row = {"a": "  ", "b": [{"text": None}, {"text": " x ", "variant": None}, {}], "c": None}

    assert [(c.label, c.text) for c in read_captions(columns, row)] == [("b", "x")]


def test_the_type_of_a_training_caption_is_one():
    """What snapshots write is what is looked for."""
    from schemas.training import CAPTION

    assert "text" in [field.name for field in CAPTION]
    assert pa.types.is_struct(CAPTION)
