"""The stage `ocr`: text, boxes and the gate, as columns."""

import sys

import pytest

from curation.errors import ConfigError
from curation.pipeline.config import parse_pipeline
from curation.pipeline.session import Session
from curation.pipeline.shard_tasks import has_own_pool
from curation.pipeline.stage import run_stage
from schemas.ocr import OCR
from stages.ocr.stage import OcrConfig, OcrStage
from stages.registry import STAGES
from tests.fakes.inline_runner import InlineRunner
from tests.stages.ocr.written import png, written
from tests.stages.photographs import file_bytes, image_shard, photograph

POSTER = ("THE QUIET TOWER", "14 March 2011", "Lisbon 19:00")


def make(**config):
    parsed = OcrStage.parse(config, "stages.ocr")
    assert isinstance(parsed, OcrConfig)
    stage = OcrStage(parsed)
    stage.setup()
    return stage


def run(files, **config):
    stage = make(**config)
    return run_stage(stage, image_shard(files, stage.pixels()))


def test_what_is_written_is_read():
    """Lines in order, boxes as shares of the picture, and how much they cover."""
    table = run([png(written(POSTER))])

    assert table.schema.equals(OCR, check_metadata=True)
    (row,) = table.to_pylist()
    assert row["text"] == "\n".join(POSTER)
    assert (row["num_lines"], row["gated"], row["error"]) == (3, False, None)
    assert row["confidence"] > 0.9
    assert 0.05 < row["text_area"] < 0.5
    assert [box["text"] for box in row["boxes"]] == list(POSTER)
    for box in row["boxes"]:
        assert len(box["quad"]) == 8
        assert all(0 <= share <= 1 for share in box["quad"])
        assert box["quad"][0] < 0.1
    assert row["boxes"][0]["quad"][1] < row["boxes"][1]["quad"][1] < row["boxes"][2]["quad"][1]


def test_pictures_without_text_are_not_read():
    """The gate says no, and the columns say that it did; a broken file has its code."""
    rows = run([file_bytes(photograph("dahlia")), b"", png(written(POSTER[:1]))]).to_pylist()

    assert rows[0] == {
        "text": "",
        "num_lines": 0,
        "confidence": None,
        "text_area": 0.0,
        "boxes": [],
        "gated": True,
        "error": None,
    }
    assert (rows[1]["error"], rows[1]["text"]) == ("empty: the file has no bytes", None)
    assert (rows[2]["text"], rows[2]["gated"]) == (POSTER[0], False)


def test_without_a_gate_every_picture_is_read():
    """`gate: null` reads all; a high threshold none."""
    files = [file_bytes(photograph("dahlia")), png(written(["Few"]))]

    assert run(files, gate=None)["gated"].to_pylist() == [False, False]
    assert run(files, gate={"threshold": 100})["gated"].to_pylist() == [True, True]
    assert run(files, gate=None)["text"].to_pylist()[1] == "Few"


def test_neighbours_do_not_matter():
    """A picture is read alike alone and among others, small ones and large ones."""
    files = [png(written([line], size=(200 + 150 * n, 90))) for n, line in enumerate(POSTER)]
    stage = make(gate=None)

    whole = run_stage(stage, image_shard(files, stage.pixels()))
    alone = [run_stage(stage, image_shard([file], stage.pixels())) for file in files]

    assert whole.to_pylist() == [table.to_pylist()[0] for table in alone]


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 2), (31, 31)])
def test_tiny_pictures_have_no_text(size):
    """Sizes that no reader expects give no text and no error."""
    (row,) = run([png(written([], size=size))], gate=None).to_pylist()

    assert (row["text"], row["num_lines"], row["error"]) == ("", 0, None)


def session(tmp_path):
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "poster.png").write_bytes(png(written(POSTER)))
    text = f"name: p\ndataset: {tmp_path}/data\nsource: {{name: lake, roots: [{tmp_path}/lake]}}\n"
    text += "stages: {ocr: {}}\n"
    return Session(parse_pipeline(text, "p.yaml"), text, STAGES)


def test_without_the_extra_a_run_is_refused_before_anything_starts(monkeypatch, tmp_path):
    """The dataset is not even made; planning, which only looks, still works."""
    monkeypatch.setitem(sys.modules, "rapidocr", None)

    with pytest.raises(ConfigError, match=r"`pip install 'longtail\[ocr\]'`"):
        session(tmp_path).run(InlineRunner, runner_name="inline")
    assert not (tmp_path / "data").exists()


def test_it_runs_in_a_pool_of_its_own(tmp_path):
    """Slow readers do not hold up the stages that are fused."""
    made = session(tmp_path)

    assert made.run(InlineRunner, runner_name="inline").complete
    dataset = made.create_dataset()
    (instance,) = made.instances(dataset)
    assert has_own_pool(instance)
    table = dataset.read_instance("ocr", instance.fingerprint, 0)
    assert table["ocr_text"].to_pylist() == ["\n".join(POSTER)]
