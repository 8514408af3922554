"""A cascade decides as scoring everything does, and says what it left out."""

from typing import Any, cast

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from curation.errors import ConfigError, UsageError
from curation.pipeline.config import parse_pipeline
from curation.pipeline.instances import resolve
from curation.pipeline.stage import Execution, Shard, run_stage
from curation.pixels import views
from schemas.aesthetic import AESTHETIC_CASCADE
from stages.aesthetic.cascade import Band, calibrate
from stages.aesthetic.scorer import AestheticConfig
from stages.aesthetic.stage import AestheticStage
from stages.registry import STAGES
from tests.fakes.facts import plausible_facts
from tests.fakes.lake import image_bytes
from tests.fakes.tiny_internvl import make_internvl
from tests.stages.aesthetic.rows import identity

PREDICATE = "band = 'above' OR (band = 'inside' AND score >= 40)"

# The band -----------------------------------------------------------------------------------------


def test_both_ends_belong_to_the_band():
    """Scores are compared in units of 1e-4, so that 35 as a 32-bit float is 35."""
    band = Band(least=35, most=80.2)

    assert [band.place(score) for score in (0, 34.9998, 35, 50, float(np.float32(80.2)), 80.3)] == [
        "below",
        "below",
        "inside",
        "inside",
        "inside",
        "above",
    ]


def test_a_band_may_be_open():
    """One side may never be certain."""
    assert [Band(least=35).place(score) for score in (0.0, 100.0)] == ["below", "inside"]
    assert [Band(most=35).place(score) for score in (0.0, 100.0)] == ["inside", "above"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({}, "neither least nor most"),
        ({"least": 60, "most": 40}, "least 60 is more than most 40"),
        ({"least": -1}, "after.least"),
    ],
)
def test_what_is_no_band_is_refused(value, words):
    """With what was found."""
    with pytest.raises(ConfigError, match=words):
        AestheticStage.parse({"scorer": "ernie_image_aes", "weights": "w", "after": value}, "s")


# The stage ----------------------------------------------------------------------------------------


class Counting:
    """An engine that counts the images that it is shown."""

    def __init__(self, engine):
        self.engine = engine
        self.batch_size = engine.batch_size
        self.num_images = 0

    def logits(self, images):
        self.num_images += len(images)
        return self.engine.logits(images)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LONGTAIL_CACHE", str(tmp_path / "cache"))
    return make_internvl(tmp_path / "released", seed=3)


def ready(folder, **config):
    value = {"scorer": "ernie_image_aes", "weights": str(folder), "precision": "fp32", **config}
    stage = AestheticStage(cast(AestheticConfig, AestheticStage.parse(value, "stages.big")))
    stage.facts = stage.learn()
    stage.execution = Execution("cpu", 2)
    stage.setup()
    scorer: Any = stage._scorer
    counting = scorer._engine = Counting(scorer._engine)
    return stage, counting


FILES = [image_bytes(str(n)) for n in range(6)]
BEFORE = [10.0, 50.0, 90.0, 35.0, None, 34.0]


def run(stage, files=FILES, before=BEFORE):
    spec = stage.pixels()
    table = identity(len(files))
    if "aesthetic.score" in stage.reads():
        table = table.append_column("aesthetic.score", pa.array(before, pa.float32()))
    return run_stage(stage, Shard(0, table, lambda n: views(files[n], [spec])[0]))


def test_only_the_band_is_scored(folder):
    """The model sees no other image, its scores are its own, and nothing is made up."""
    whole, _ = ready(folder)
    stage, counting = ready(folder, after={"least": 35, "most": 80})

    found = run(stage)

    assert counting.num_images == 2
    assert found.schema.equals(AESTHETIC_CASCADE)
    assert found["band"].to_pylist() == ["below", "inside", "above", "inside", None, "below"]
    scores = run(whole)["score"].to_pylist()
    assert found["score"].to_pylist() == [None, scores[1], None, scores[3], None, None]
    assert found["error"].to_pylist() == [
        *[None] * 4,
        "missing_input: aesthetic.score is null",
        None,
    ]


def test_an_image_that_cannot_be_seen_is_an_error_in_and_outside_of_the_band(folder):
    """A score from before is no reason to keep what cannot be opened."""
    stage, _ = ready(folder, after={"least": 35, "most": 80})

    found = run(stage, [b"x", b"x", FILES[0]], [50.0, 90.0, 50.0])

    assert [error is None for error in found["error"].to_pylist()] == [False, False, True]
    assert found["band"].to_pylist() == [None, None, "inside"]


def test_the_predicate_has_no_unknowns_but_errors():
    """Three-valued logic gives yes or no for every good row."""
    table = pa.table(
        {
            "band": pa.array(["below", "above", "inside", "inside", None]),
            "score": pa.array([None, None, 39.9, 40.0, None]),
        }
    )
    connection = duckdb.connect()
    connection.register("t", table)

    found = connection.sql(f"SELECT ({PREDICATE}) FROM t").to_arrow_table().column(0).to_pylist()
    share = connection.sql("SELECT avg((band <> 'inside')::INT) FROM t").to_arrow_table()

    assert found == [False, True, False, True, None]
    assert share.column(0).to_pylist() == [0.5]


def pipeline(text):
    head = "name: p\ndataset: /nowhere\nsource: {name: s, roots: [/lake]}\nstages:\n  inspect: {}\n"
    return resolve(parse_pipeline(head + text, "p.yaml"), STAGES, find_facts=plausible_facts)


BIG = "big: {stage: aesthetic, scorer: ernie_image_aes, weights: /w, after: {least: 35}"


def test_a_cascade_reads_the_other_instance():
    """Its meaning is part of the cascade's; without `after` there is nothing to read."""
    by_name = {i.name: i for i in pipeline(f"  aesthetic: {{}}\n  {BIG}}}\n")}
    whole = {
        i.name: i
        for i in pipeline(
            "  aesthetic: {}\n  big: {stage: aesthetic, scorer: ernie_image_aes, weights: /w}\n"
        )
    }

    big = by_name["big"]
    assert big.inputs == {"aesthetic": "aesthetic"}
    assert set(big.meaning.reads) == {"aesthetic.score", "images.image_bytes"}
    assert big.disk_schema().names[-3:] == ["big_score", "big_error", "big_band"]
    assert whole["big"].inputs == {}
    assert whole["big"].disk_schema().names[-2:] == ["big_score", "big_error"]
    assert whole["aesthetic"].fingerprint == by_name["aesthetic"].fingerprint


def test_a_cascade_after_a_cascade_is_refused():
    """It would have no score for what the first left out."""
    text = (
        f"  aesthetic: {{}}\n  {BIG}, inputs: {{aesthetic: aesthetic}}}}\n"
        f"  {BIG.replace('big:', 'huge:')}, inputs: {{aesthetic: big}}}}\n"
    )
    huge = next(i for i in pipeline(text) if i.name == "huge")

    with pytest.raises(ConfigError, match="name the one that scores every image"):
        huge.make().check()


# Calibration --------------------------------------------------------------------------------------


def corpus(count, seed, noise=8.0):
    """Draw images with both scores, which agree but for noise."""
    rng = np.random.default_rng(seed)
    dear = np.clip(rng.normal(50, 18, count), 0, 100)
    return np.clip(dear + rng.normal(0, noise, count), 0, 100), dear


def changed(band, cheap, dear, threshold):
    """Count the decisions that a band changes, one image after the other."""
    count = 0
    for a, b in zip(cheap, dear, strict=True):
        place = band.place(float(a))
        passes = b >= threshold
        count += (place == "below" and passes) or (place == "above" and not passes)
    return count


def test_a_calibrated_band_decides_as_scoring_everything():
    """On images that it never saw, at most the promised share differs, and many are skipped."""
    cheap, dear = corpus(20_000, 0)
    found = calibrate(cheap[:6000], dear[:6000], 60.0, max_changed=0.01)

    assert found.band is not None
    assert changed(found.band, cheap[6000:], dear[6000:], 60.0) <= 0.01 * 14_000
    places = [found.band.place(float(score)) for score in cheap[6000:]]
    assert sum(place != "inside" for place in places) > 0.5 * 14_000
    assert found.num_held_out == 3000
    assert "after: {least: " in found.lines()[0]


def test_the_promise_holds_as_often_as_it_says():
    """Over many samples of a corpus, about one in twenty bands breaks it, at most."""
    cheap, dear = corpus(60_000, 1)
    broken = useful = 0
    for seed in range(60):
        drawn = np.random.default_rng(seed).choice(len(cheap), 1200, replace=False)
        found = calibrate(cheap[drawn], dear[drawn], 55.0, max_changed=0.02, seed=seed)
        if found.band is not None:
            useful += 1
            broken += share_changed(found.band, cheap, dear, 55.0) > 0.02

    assert useful > 50
    assert broken <= 6  # of 60; more than that has a chance of 2 % where the promise is exact


def share_changed(band, cheap, dear, threshold):
    low = cheap < (band.least if band.least is not None else -1)
    high = cheap > (band.most if band.most is not None else 101)
    return ((low & (dear >= threshold)) | (high & (dear < threshold))).mean()


def test_a_scorer_that_knows_nothing_skips_next_to_nothing():
    """Where the cheap score says nothing, the promise leaves only the far ends."""
    _, dear = corpus(6000, 2)
    cheap = np.random.default_rng(3).uniform(0, 100, 6000)

    found = calibrate(cheap, dear, 50.0, max_changed=0.01)

    assert found.num_skipped < 0.1 * found.num_held_out


def test_equal_scores_skip_nearly_everything():
    """A cheap scorer that is the dear one needs no second opinion."""
    _, dear = corpus(4000, 4)

    found = calibrate(dear, dear, 50.0)

    assert found.num_changed <= 0.005 * found.num_held_out
    assert found.num_skipped > 0.95 * found.num_held_out


def test_one_sided_decisions():
    """Where all pass, or none, there is one side to skip; ties stay together."""
    cheap = np.repeat([10.0, 20.0, 30.0], 1000)

    all_pass = calibrate(cheap, np.full(3000, 90.0), 50.0)
    none_pass = calibrate(cheap, np.full(3000, 10.0), 50.0)

    for found in (all_pass, none_pass):
        assert found.band is not None
        assert found.num_changed == 0
        assert found.num_skipped == found.num_held_out


def test_without_a_band_it_says_so():
    """A promise that the sample breaks at once."""
    cheap = np.zeros(2000)
    dear = np.tile([0.0, 100.0], 1000)

    found = calibrate(cheap, dear, 50.0)

    assert found.band is None
    assert found.num_skipped == 0
    assert found.lines()[0].startswith("No band changes at most 0.005 of the decisions")


@pytest.mark.parametrize(
    ("count", "options", "words"),
    [
        (100, {}, "100 images have both scores; .*, 1196 are needed"),
        (2000, {"max_changed": 0}, "max_changed is 0"),
        (2000, {"confidence": 1.0}, "confidence 1;"),
    ],
)
def test_what_cannot_be_promised_is_refused(count, options, words):
    """With what it would take."""
    cheap, dear = corpus(count, 0)
    with pytest.raises(UsageError, match=words):
        calibrate(cheap, dear, 50.0, **options)


def test_scores_that_do_not_match_are_refused():
    """And NaN."""
    cheap, dear = corpus(2000, 0)
    with pytest.raises(UsageError, match="expected two for each image"):
        calibrate(cheap[1:], dear, 50.0)
    dear[5] = np.nan
    with pytest.raises(UsageError, match="NaN or infinite"):
        calibrate(cheap, dear, 50.0)
