"""The stage `caption`: what is known of an image, in sentences."""

import io

import pyarrow as pa
import pytest
from PIL import Image

from curation.errors import ConfigError
from curation.pipeline.config import PipelineConfig
from curation.pipeline.instances import resolve
from curation.pipeline.stage import Shard, run_stage
from schemas.caption import CAPTION
from stages.caption.captioner import CaptionConfig
from stages.caption.stage import CaptionStage
from stages.caption.template import category_words
from stages.registry import STAGES
from tests.stages.photographs import image_shard

KNOWN = {
    "inspect.width": pa.int32(),
    "inspect.height": pa.int32(),
    "inspect.mean_luma": pa.float32(),
    "inspect.contrast": pa.float32(),
    "inspect.colorfulness": pa.float32(),
    "images.alt_text": pa.string(),
    "categorize.name": pa.string(),
    "ocr.text": pa.string(),
}
ORDINARY = {
    "inspect.width": 900,
    "inspect.height": 600,
    "inspect.mean_luma": 120.0,
    "inspect.contrast": 50.0,
    "inspect.colorfulness": 40.0,
}


def make(**config):
    parsed = CaptionStage.parse(config, "stages.caption")
    assert isinstance(parsed, CaptionConfig)
    return CaptionStage(parsed)


def picture():
    """Return the file of a picture, red above blue."""
    image = Image.new("RGB", (90, 60), (220, 20, 30))
    image.paste((30, 60, 200), (0, 40, 90, 60))
    sink = io.BytesIO()
    image.save(sink, "PNG")
    return sink.getvalue()


def run(facts, files=None, **config):
    """Caption pictures of which `facts` are known, one mapping an image."""
    stage = make(**config)
    shard = image_shard(files or [picture()] * len(facts), stage.pixels())
    table = shard.table
    for name in stage.reads():
        values = [{**ORDINARY, **row}.get(name) for row in facts]
        table = table.append_column(name, pa.array(values, KNOWN[name]))
    return run_stage(stage, Shard(3, table, shard._views))


def texts(facts, **config):
    """Return variant -> text for one image."""
    (row,) = run([facts], **config).to_pylist()
    assert (row["status"], row["error"]) == ("ok", None)
    assert {caption["language"] for caption in row["captions"]} == {"en"}
    return {caption["variant"]: caption["text"] for caption in row["captions"]}


def test_everything_that_is_known_is_said():
    """Category, colours, light, proportions, alt text and text in the picture."""
    facts = {
        "categorize.name": "signs/road signs/red c004",
        "images.alt_text": "Stop sign\non a pole",
        "ocr.text": "STOP\nALL WAY",
        "inspect.mean_luma": 30.0,
    }

    found = texts(facts, ocr=True)

    assert found == {
        "tags": "red, road signs, signs, blue, dark, horizontal, text 'STOP ALL WAY'",
        "short": "A dark horizontal picture of red in red and blue, with the text 'STOP ALL WAY'.",
        "long": "A dark horizontal picture in the proportions 3:2. It belongs to the category "
        "signs, road signs, red. Its main colors are red and blue. Its source describes it as "
        "'Stop sign on a pole'. The text in it reads 'STOP ALL WAY'.",
    }


def test_what_is_not_known_is_not_said():
    """Without category, alt text and text the sentences are shorter, and still sentences."""
    assert texts({}, ocr=True) == {
        "tags": "red, blue, horizontal",
        "short": "A horizontal picture in red and blue.",
        "long": "A horizontal picture in the proportions 3:2. Its main colors are red and blue.",
    }


def test_variants_are_those_asked_for():
    """In the order of the configuration."""
    assert list(texts({}, variants=["long", "tags"])) == ["long", "tags"]


def test_rows_without_measurements_say_so():
    """A broken file has the code of its view, a missing column is named, neighbours are fine."""
    facts = [{}, {}, {"inspect.mean_luma": None}]

    table = run(facts, files=[picture(), b"", picture()])

    assert table.schema.equals(CAPTION, check_metadata=True)
    assert table["error"].to_pylist() == [
        None,
        "empty: the file has no bytes",
        "missing_input: inspect.mean_luma is null",
    ]
    assert [value is None for value in table["captions"].to_pylist()] == [False, True, True]
    assert table["status"].to_pylist() == ["ok", None, None]


def test_places_in_the_tree_are_no_words():
    """Parts without a name, and repeated ones, are left out."""
    assert category_words("dog/c003/dog c001") == ["dog"]
    assert category_words("c001/c002") == category_words(None) == []


def test_columns_follow_the_configuration():
    """Category and OCR are read where they are asked for, and only there."""
    everything = set(KNOWN)

    assert set(make(ocr=True).reads()) == everything
    assert set(make().reads()) == everything - {"ocr.text"}
    assert set(make(category=False).reads()) == everything - {"ocr.text", "categorize.name"}


def resolved(stages):
    config = PipelineConfig(name="p", dataset="d", stages=stages)
    return {i.name: i for i in resolve(config, STAGES)}


def test_inputs_are_bound_as_for_every_stage():
    """With two trees one is named; a category that nothing gives is refused."""
    stages = {
        "inspect": {},
        "embed": {},
        "coarse": {"stage": "categorize", "branching": [3]},
        "fine": {"stage": "categorize"},
        "caption": {"inputs": {"categorize": "fine"}},
    }

    assert resolved(stages)["caption"].source_of("categorize.name") == ("fine", "fine_name")
    with pytest.raises(ConfigError, match="categorize could be coarse or fine; say `inputs"):
        resolved({**stages, "caption": {}})
    with pytest.raises(ConfigError, match="reads categorize, which is not in the pipeline"):
        resolved({"inspect": {}, "caption": {}})
    with pytest.raises(ConfigError, match="reads ocr, which is not in the pipeline"):
        resolved({"inspect": {}, "caption": {"category": False, "ocr": True}})


def test_names_from_captions_need_captions_without_categories():
    """A circle between the two stages is refused; without it the fit reads the captions."""
    stages = {"inspect": {}, "embed": {}, "categorize": {"names_from": ["caption"]}}

    with pytest.raises(ConfigError, match="categorize, caption read each other in a circle"):
        resolved({**stages, "caption": {}})
    found = resolved({**stages, "caption": {"category": False}})
    assert found["categorize"].inputs == {"embed": "embed", "caption": "caption"}
