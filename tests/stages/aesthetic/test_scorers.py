"""The heuristic prefers what it says it prefers."""

import importlib.util
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageEnhance, ImageFilter
from skimage import data

from curation.pipeline.stage import Shard, run_stage
from curation.pixels import views
from schemas.aesthetic import AESTHETIC
from stages.aesthetic import scorers
from stages.aesthetic.scorer import AestheticConfig
from stages.aesthetic.scorers import SCORERS, HeuristicConfig, HeuristicScorer
from stages.aesthetic.stage import AestheticStage
from stages.inspect.stage import InspectConfig, InspectStage
from tests.stages.aesthetic.rows import identity


def aesthetic(files):
    """Run both stages; return the table of `aesthetic`."""
    inspect = InspectStage(InspectConfig())
    spec = inspect.pixels()
    rows = identity(len(files))
    facts = run_stage(inspect, Shard(0, rows, lambda n: views(files[n], [spec])[0]))
    stage = AestheticStage(AestheticConfig())
    for name in stage.reads():
        rows = rows.append_column(name, facts[name.partition(".")[2]])
    return run_stage(stage, Shard(0, rows))


def jpeg(image):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def photographs():
    spec = importlib.util.find_spec("sklearn")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "datasets" / "images"
    yield Image.open(folder / "china.jpg").convert("RGB")
    yield Image.open(folder / "flower.jpg").convert("RGB")
    yield Image.fromarray(data.coffee())
    yield Image.fromarray(data.astronaut())


def worse_versions(image):
    """Name of a fault -> the picture with it, at the same size."""
    small = image.resize((image.width // 12, image.height // 12))
    return {
        "blurred": image.filter(ImageFilter.GaussianBlur(5)),
        "overexposed": ImageEnhance.Brightness(image).enhance(3.0),
        "underexposed": ImageEnhance.Brightness(image).enhance(0.15),
        "enlarged": small.resize(image.size, Image.Resampling.BICUBIC),
        "flat": ImageEnhance.Contrast(image).enhance(0.15),
        "plain": Image.new("RGB", image.size, (120, 120, 120)),
        "noise": Image.fromarray(
            np.random.default_rng(0).integers(0, 256, (*image.size[::-1], 3), np.uint8)
        ),
        "thumbnail": small,
    }


@pytest.mark.parametrize("image", list(photographs()))
def test_a_photograph_outranks_its_own_faults(image):
    """A sharp, well exposed photograph scores above each spoilt version of itself."""
    worse = worse_versions(image)

    good, *scores = aesthetic([jpeg(image), *map(jpeg, worse.values())])["score"].to_pylist()

    assert 40 < good <= 100
    outranked = {name: score for name, score in zip(worse, scores, strict=True) if score < good - 3}
    assert set(outranked) == set(worse)


def test_more_pixels_never_score_lower():
    """The same measurements at a larger size score at least as high."""
    scores = judge(facts(width=range(32, 4000, 50), height=range(32, 4000, 50)))

    assert (np.diff(scores) >= 0).all()
    assert scores[-1] > scores[0] + 10


def judge(table):
    return HeuristicScorer(HeuristicConfig()).score(table)


def facts(**columns):
    """Make the inputs of a good picture, with some columns replaced."""
    count = max(len(values) for values in columns.values())
    good = {
        "width": 1600,
        "height": 1200,
        "mean_luma": 120.0,
        "dark_share": 0.01,
        "bright_share": 0.01,
        "contrast": 60.0,
        "entropy": 7.4,
        "sharpness": 900.0,
        "colorfulness": 50.0,
        "bits_per_pixel": 1.5,
    }
    values = {name: [value] * count for name, value in good.items()} | columns
    return pa.table({f"inspect.{name}": list(column) for name, column in values.items()})


@pytest.mark.parametrize("name", ["sharpness", "entropy"])
def test_rising_inputs_never_lower_the_score(name):
    """More of these is never worse."""
    scores = judge(facts(**{name: np.linspace(0, 3000, 400)}))

    assert (np.diff(scores) >= 0).all()


@pytest.mark.parametrize("name", ["dark_share", "bright_share"])
def test_clipping_never_raises_the_score(name):
    """Lost shadows and lights are never better."""
    scores = judge(facts(**{name: np.linspace(0, 1, 101)}))

    assert (np.diff(scores) <= 0).all()
    assert scores[0] > scores[-1] + 20


@pytest.mark.parametrize(
    ("name", "too_little", "too_much"),
    [
        ("mean_luma", 15.0, 245.0),
        ("contrast", 8.0, 120.0),
        ("colorfulness", 0.0, 190.0),
        ("bits_per_pixel", 0.1, 7.0),
    ],
)
def test_peaked_inputs_have_two_faults(name, too_little, too_much):
    """Too little and too much both score below the middle, which is best."""
    good = facts(width=[1600]).column(f"inspect.{name}")[0].as_py()

    low, best, high = judge(facts(**{name: [too_little, good, too_much]}))

    assert low < best - 2
    assert high < best - 2


def test_scores_span_the_range():
    """The best inputs score 100, the worst 0."""
    best = facts(width=[4000], height=[4000], sharpness=[5000.0])
    worst = facts(
        width=[8],
        mean_luma=[0.0],
        dark_share=[1.0],
        contrast=[0.0],
        entropy=[0.0],
        sharpness=[0.0],
        colorfulness=[400.0],
        bits_per_pixel=[0.0],
    )

    assert judge(best)[0] == pytest.approx(100.0)
    assert 0 <= judge(worst)[0] < 5
    assert sum(scorers.WEIGHTS.values()) == pytest.approx(1.0)


def test_a_row_without_input_has_no_score():
    """What inspect could not see cannot be judged; the error names the column."""
    good = jpeg(Image.fromarray(data.coffee()))

    result = aesthetic([good, b"no image", good])

    assert result.schema.equals(AESTHETIC)
    assert result["score"].is_null().to_pylist() == [False, True, False]
    assert result["error"].to_pylist() == [None, "missing_input: inspect.width is null", None]


def test_scorers_score_no_rows():
    """A shard of nothing but broken images is no special case."""
    assert aesthetic([b"", b""])["score"].to_pylist() == [None, None]
    assert set(SCORERS) == {"clip_head", "ernie_image_aes", "heuristic"}
