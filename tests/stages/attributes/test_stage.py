"""The stage `attributes`: what is measured, and what texts answer."""

import io
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageFilter, ImageOps

from curation.calibration import sigmoid
from curation.errors import ConfigError, DatasetError, MissingWeightsError, UsageError
from curation.pipeline.stage import Shard, run_stage
from curation.pixels import views
from schemas.columns import IDENTITY
from stages.attributes.prober import AttributesConfig
from stages.attributes.probes import Probe, shipped_probes
from stages.attributes.stage import AttributesStage
from stages.attributes.zero_shot import VECTOR, make_artifact
from stages.embed.stage import EmbedStage
from stages.inspect.stage import InspectConfig, InspectStage
from tests.fakes.tiny_clip import clip_folder
from tests.stages.categorize.test_kmeans import unit_vectors
from tests.stages.categorize.test_stage import shard_of, vector_column
from tests.stages.categorize.test_taxonomy import embed_of
from tests.stages.photographs import photograph

DIMENSION = 12
PROBES: dict[str, dict[str, Any]] = {
    "red": {"asks": "it is red", "positive": ["red", "a red thing"], "negative": ["blue"]},
    "large": {"positive": ["large"], "negative": ["small", "tiny"]},
}


def stage_of(artifact=None, **config):
    parsed = AttributesStage.parse(config, "stages.attributes")
    assert isinstance(parsed, AttributesConfig)
    stage = AttributesStage(parsed, artifact)
    stage.facts = stage.learn()
    return stage


def zero_shot(artifact=None, **config):
    return stage_of(artifact, prober="zero_shot", **config)


# Measured ----------------------------------------------------------------------------------------


def measured(*images):
    files = []
    for image in images:
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        files.append(buffer.getvalue())
    count = len(files)
    rows = pa.Table.from_arrays(
        [
            pa.array([0] * count, pa.int32()),
            pa.array(range(count), pa.int32()),
            pa.array([bytes([n]) * 16 for n in range(count)], pa.binary(16)),
        ],
        schema=pa.schema(IDENTITY),
    )
    inspect = InspectStage(InspectConfig())
    facts = run_stage(inspect, Shard(0, rows, lambda n: views(files[n], [inspect.pixels()])[0]))
    stage = stage_of()
    for name in stage.reads():
        rows = rows.append_column(name, facts[name.partition(".")[2]])
    return run_stage(stage, Shard(0, rows))


def test_a_plain_frame_is_a_border_and_a_plain_picture_is_none():
    """A photograph in a white frame scores 1, the photograph itself and one plain colour 0."""
    whole = photograph("coffee")
    framed = ImageOps.expand(whole, border=30, fill="white")

    found = measured(whole, framed, Image.new("RGB", (300, 200), "grey"))["border"].to_pylist()

    assert found == [0, 1, 0]


def test_faults_make_a_picture_poor():
    """Blurred, tiny and washed-out copies score above the photograph."""
    whole = photograph("astronaut").resize((800, 800))
    blurred = whole.filter(ImageFilter.GaussianBlur(14))
    pale = Image.blend(whole, Image.new("RGB", whole.size, "grey"), 0.95)

    found = measured(whole, blurred, whole.resize((90, 90)), pale)["low_quality"].to_pylist()

    assert found[0] < 0.2
    assert min(found[1:]) > 0.8


# Zero-shot ---------------------------------------------------------------------------------------


def planted(scale=10.0):
    """Return an artefact for `PROBES` and the four directions that its texts have."""
    texts = np.linalg.qr(np.random.default_rng(0).normal(size=(DIMENSION, DIMENSION)))[0][:4]
    return make_artifact({n: Probe(**p) for n, p in PROBES.items()}, texts, scale), texts


def test_an_answer_is_the_sigmoid_of_the_scaled_difference():
    """Near the texts of yes it is high, near those of no low, between them a half."""
    artifact, (red, blue, _, _) = planted()
    stage = zero_shot(artifact, probes=PROBES)
    stage.setup()
    between = (red + blue) / np.sqrt(2)
    vectors = np.stack([red, blue, between]).astype(np.float16)

    result = run_stage(stage, shard_of(vectors))

    assert result.column_names == ["red", "large", "error"]
    expected = [sigmoid(np.array(x)) for x in (10.0, -10.0, 0.0)]
    assert result["red"].to_pylist() == pytest.approx(expected, abs=1e-3)
    assert result["large"].to_pylist() == pytest.approx([0.5] * 3, abs=1e-2)
    assert b"How likely it is that it is red; a" in result.schema.field("red").metadata[b"doc"]


def test_rows_answer_alone_and_without_a_vector_say_so():
    """Slices and order change no bit; a null vector gives nulls and a reason."""
    artifact, _ = planted()
    stage = zero_shot(artifact, probes=PROBES)
    stage.setup()
    vectors = unit_vectors(80, DIMENSION)
    order = np.random.default_rng(3).permutation(80)

    whole = run_stage(stage, shard_of(vectors))
    mixed = run_stage(stage, shard_of(vectors[order]))
    parts = [run_stage(stage, shard_of(vectors[n : n + 7])) for n in range(0, 80, 7)]
    holed = run_stage(stage, shard_of(vectors, null=(3,)))

    assert mixed.equals(whole.take(order))
    assert pa.concat_tables(parts).combine_chunks().equals(whole.combine_chunks())
    assert holed.slice(3, 1).to_pylist() == [
        {"red": None, "large": None, "error": "missing_input: embed.vector is null"}
    ]
    assert holed.slice(4).equals(whole.slice(4))


def test_the_texts_vectors_are_the_mean_of_yes_and_of_no(tmp_path):
    """The artefact holds, for each probe, the normalised mean of each side's texts."""
    embed = embed_of(embedder="open_clip", weights=str(clip_folder(tmp_path / "clip")))
    embed.facts = embed.learn()
    stage = zero_shot(probes=PROBES)
    stage.upstream = {"embed": embed}
    stage.check()

    artifact = stage.fit(pa.table({VECTOR: vector_column(unit_vectors(1, 32))}))

    embed.setup()
    assert isinstance(embed, EmbedStage)
    texts = np.load(io.BytesIO(artifact["texts.npy"])) / 16384
    both = embed.embed_text("red").astype(float) + embed.embed_text("a red thing")
    assert texts[0] == pytest.approx(both / np.linalg.norm(both), abs=1e-3)
    assert texts[1] == pytest.approx(embed.embed_text("blue").astype(float), abs=1e-3)
    assert texts[2] == pytest.approx(embed.embed_text("large").astype(float), abs=1e-3)
    assert json.loads(artifact["probes.json"])["probes"] == ["red", "large"]


def test_a_calibration_makes_no_new_artefact():
    """The texts' vectors do not depend on it, and making them takes the model."""
    assert zero_shot(probes=PROBES).fit_ignores() == {"calibration"}
    assert not stage_of().fit_ignores()


def test_columns_follow_the_configured_probes():
    """Those that are shipped by default, else those named; a bare name takes the shipped texts."""
    default = zero_shot()
    chosen = zero_shot(probes={"watermark": None, **PROBES})

    shipped = ["watermark", "logo", "nsfw", "ai_generated", "collage", "border", "low_quality"]
    assert default.writes().names == [*shipped, "error"]
    assert chosen.writes().names == ["watermark", "red", "large", "error"]
    dumped = chosen.config.model_dump(mode="json")
    assert dumped["probes"]["watermark"]["positive"] == list(shipped_probes()["watermark"].positive)
    assert "asks" not in dumped["probes"]["red"]
    again = AttributesStage.parse(dumped, "stages.attributes")
    assert again.model_dump(mode="json") == dumped


@pytest.mark.parametrize(
    ("probes", "words"),
    [
        ({"watermarks": None}, "probe 'watermarks' (did you mean watermark?)"),
        ({"Red": PROBES["red"]}, "'Red' names no column"),
        ({"error": PROBES["red"]}, "'error' names no column"),
        ({"red": {"positive": ["red"]}}, "negative: this key is required"),
        ({"red": {"positive": [], "negative": ["a"]}}, "at least 1 item"),
        ({}, "at least 1 item"),
    ],
)
def test_wrong_probes_are_refused(probes, words):
    """The sentence names the probe and what it lacks."""
    with pytest.raises(ConfigError) as caught:
        zero_shot(probes=probes)

    assert words in str(caught.value)


def test_shipped_probes_are_sane():
    """Both sides have several texts, none stands on both, and what is asked reads as a clause."""
    for name, probe in shipped_probes().items():
        assert min(len(probe.positive), len(probe.negative)) >= 3, name
        assert not set(probe.positive) & set(probe.negative), name
        assert len(set(probe.positive)) == len(probe.positive), name
        assert probe.asks[0].islower(), name
        assert not probe.asks.endswith("."), name


def calibration_file(path, **changes):
    content = {
        "format": 1,
        "vector": "m",
        "probes": {
            "red": {
                "texts": Probe(**PROBES["red"]).digest(),
                "slope": 0.5,
                "bias": -1.0,
                "positives": 9,
                "negatives": 9,
            }
        },
        **changes,
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(path)


def test_a_calibration_changes_its_probes_only(tmp_path):
    """Slope and bias go onto the logit; a probe that the file has not stays as it is."""
    artifact, (red, *_) = planted()
    vectors = np.stack([red, *unit_vectors(4, DIMENSION)]).astype(np.float16)
    plain = zero_shot(artifact, probes=PROBES)
    file = calibration_file(tmp_path / "c.json")
    fitted = zero_shot(artifact, probes=PROBES, calibration=file)
    fitted.read_meanings = {VECTOR: "m"}
    for stage in (plain, fitted):
        stage.setup()

    before, after = (run_stage(stage, shard_of(vectors)) for stage in (plain, fitted))

    assert after["large"].equals(before["large"])
    values = np.array(before["red"].to_pylist())
    logits = np.log(values / (1 - values))
    assert after["red"].to_pylist() == pytest.approx(sigmoid(0.5 * logits - 1).tolist(), rel=2e-3)
    assert fitted.facts["weights"] != plain.facts.get("weights")
    assert "calibration" not in fitted.config.model_dump()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"vector": "other"}, "made for vectors of another `embed`"),
        ({"probes": {}}, "calibrates none of red, large"),
        (
            {
                "probes": {
                    "red": {
                        "texts": "0",
                        "slope": 1,
                        "bias": 0,
                        "positives": 1,
                        "negatives": 1,
                    }
                }
            },
            "red had other texts when it was calibrated",
        ),
    ],
)
def test_a_calibration_for_something_else_is_refused(tmp_path, changes, words):
    """Of another embedder, of other texts, or none at all: a sentence says what to do."""
    artifact, _ = planted()
    file = calibration_file(tmp_path / "c.json", **changes)
    stage = zero_shot(artifact, probes=PROBES, calibration=file)
    stage.read_meanings = {VECTOR: "m"}

    with pytest.raises(ConfigError) as caught:
        stage.setup()

    assert words in str(caught.value)
    assert "c.json" in str(caught.value)


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"format": 2, "vector": "", "probes": {}}'])
def test_what_is_no_calibration_is_refused_in_planning(tmp_path, text):
    """What an earlier run knew of the file does not stand in for one that is here and wrong."""
    file = tmp_path / "c.json"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(UsageError, match="c.json") as caught:
        zero_shot(probes=PROBES, calibration=str(file))

    assert not isinstance(caught.value, MissingWeightsError)


def test_workers_need_no_calibration_file(tmp_path):
    """What it says travels with the plan."""
    artifact, _ = planted()
    file = tmp_path / "c.json"
    stage = zero_shot(artifact, probes=PROBES, calibration=calibration_file(file))
    stage.read_meanings = {VECTOR: "m"}
    file.unlink()

    stage.setup()

    assert len(run_stage(stage, shard_of(unit_vectors(3, DIMENSION)))) == 3


def test_an_embedder_without_texts_and_foreign_artifacts_are_refused():
    """The descriptor cannot read; an artefact for other probes or vectors is not used."""
    artifact, _ = planted()
    blind = zero_shot(probes=PROBES)
    blind.upstream = {"embed": embed_of()}

    with pytest.raises(ConfigError, match="has no text tower"):
        blind.check()
    with pytest.raises(DatasetError, match="answers red, large, the pipeline asks watermark"):
        zero_shot(artifact, probes={"watermark": None}).setup()
    reworded = {**PROBES, "red": {"positive": ["crimson"], "negative": ["blue"]}}
    with pytest.raises(DatasetError, match="made from other texts of red than the pipeline has"):
        zero_shot(artifact, probes=reworded).setup()
    with pytest.raises(DatasetError, match=r"has no texts\.npy"):
        zero_shot({"probes.json": b"{}"}, probes=PROBES).setup()
    stage = zero_shot(artifact, probes=PROBES)
    stage.setup()
    with pytest.raises(DatasetError, match="texts of 12 numbers"):
        run_stage(stage, shard_of(unit_vectors(2, 8)))
