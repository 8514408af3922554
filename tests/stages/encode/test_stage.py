"""The stage `encode`, on small pictures."""

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import yaml
from PIL import Image

from curation.errors import ConfigError
from curation.pipeline.config import parse_pipeline
from curation.pipeline.instances import resolve
from curation.pipeline.stage import Execution, Shard, run_stage
from curation.pixels import nearest_box, views
from curation.snapshot.config import ERNIE_IMAGE_BUCKETS
from schemas.error_codes import error_code
from stages.encode.config import EncodeConfig
from stages.encode.stage import EncodeStage, text_digest
from stages.registry import STAGES
from tests.fakes.tiny_encoders import save_tiny_ministral, save_tiny_vae
from training.encoders.configs import BlockDctConfig, Flux2Config, MinistralConfig
from training.encoders.latents import make_codec
from training.encoders.sizes import bucket_spec, scaled_buckets
from training.encoders.texts import MinistralEncoder

SIZES = ((48, 48), (96, 40), (40, 96), (64, 44), (50, 50))
TYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@pytest.fixture(scope="module")
def files():
    """Five pictures of several proportions; the fourth is none."""
    rng = np.random.default_rng(0)
    found = []
    for width, height in SIZES:
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(buffer, "PNG")
        found.append(buffer.getvalue())
    found[3] = b"no picture"
    return found


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    return save_tiny_vae(tmp_path_factory.mktemp("vae"))


@pytest.fixture(scope="module")
def ministral(tmp_path_factory):
    return save_tiny_ministral(tmp_path_factory.mktemp("ministral"))


def ready(execution=None, **config):
    parsed = EncodeStage.parse(config, "stages.encode")
    assert isinstance(parsed, EncodeConfig)
    stage = EncodeStage(parsed)
    stage.facts = stage.learn()
    stage.execution = execution or Execution()
    stage.setup()
    return stage


def captions_of(texts):
    return [{"variant": kind, "language": "en", "text": text} for kind, text in texts]


def run(stage, files, captions=None, **columns):
    """Return what the stage writes for files; `captions` are lists of (variant, text)."""
    count = len(files)
    table = pa.table(
        {
            "shard": pa.array([0] * count, pa.int32()),
            "row": pa.array(range(count), pa.int32()),
            "image_id": pa.array([bytes(15) + bytes([n]) for n in range(count)], pa.binary(16)),
            **{name.replace("__", "."): values for name, values in columns.items()},
        }
    )
    if "caption.captions" in stage.reads():
        told = captions or [[("short", f"a red picture {n}")] for n in range(count)]
        lists = [None if texts is None else captions_of(texts) for texts in told]
        table = table.append_column("caption.captions", pa.array(lists))
    spec = stage.pixels()
    shown = None if spec is None else lambda position: views(files[position], [spec])[0]
    return run_stage(stage, Shard(0, table, shown))


def tensor(data, precision, shape):
    return torch.frombuffer(bytearray(data), dtype=TYPES[precision]).reshape(shape)


def on_the_fly(codec, file, edge_px, *, mirrored=False):
    """Encode a picture as a trainer does that has no cache."""
    whole = Image.open(io.BytesIO(file))
    buckets = scaled_buckets(edge_px, codec.stride)
    bucket = buckets[nearest_box(ERNIE_IMAGE_BUCKETS, *whole.size)]
    (view,) = views(file, [bucket_spec(bucket)])
    assert not isinstance(view, str)
    pixels = view.pixels[:, ::-1] if mirrored else view.pixels
    return codec.encode(torch.from_numpy(pixels.copy())[None])[0]


@pytest.mark.parametrize("batch_size", [None, 3])
def test_latents_are_those_of_a_trainer_to_the_bit(files, batch_size):
    """In fp32, mirrored ones too, whatever images are encoded together."""
    execution = Execution(batch_size=batch_size)
    stage = ready(execution, edge_px=64, flip=True, latent_precision="fp32")
    codec = make_codec(BlockDctConfig())

    found = run(stage, files).to_pylist()

    for row, file in zip(found, files, strict=True):
        if file == files[3]:
            assert error_code(row["error"]) == "unsupported"
            assert {value for name, value in row.items() if name != "error"} == {None}
            continue
        for column, mirrored in (("latent", False), ("mirrored", True)):
            expected = on_the_fly(codec, file, 64, mirrored=mirrored)
            shape = (192, row["latent_height"], row["latent_width"])
            assert torch.equal(tensor(row[column], "fp32", shape), expected)
    assert len({(row["latent_height"], row["latent_width"]) for row in found if row["latent"]}) == 3


def test_flux2_latents_are_those_of_a_trainer(files, vae):
    """Of the VAE with its normalisation, alone and with others in the batch."""
    codec = {"codec": "flux2_vae", "weights": str(vae)}
    stage = ready(codec=codec, text=None, edge_px=64, flip=True, latent_precision="fp32")
    several = ready(
        Execution(batch_size=4), codec=codec, text=None, edge_px=64, latent_precision="fp32"
    )
    direct = make_codec(Flux2Config(weights=str(vae)))

    found, together = run(stage, files).to_pylist(), run(several, files).to_pylist()

    for number in (0, 1, 2, 4):
        row = found[number]
        shape = (16, row["latent_height"], row["latent_width"])
        for column, mirrored in (("latent", False), ("mirrored", True)):
            expected = on_the_fly(direct, files[number], 64, mirrored=mirrored)
            assert torch.allclose(tensor(row[column], "fp32", shape), expected, atol=1e-6)
        other = tensor(together[number]["latent"], "fp32", shape)
        assert torch.allclose(other, tensor(row["latent"], "fp32", shape), atol=1e-5)
    assert "texts" not in found[0]
    assert stage.needs.gpus == 1
    assert stage.needs.own_pool


@pytest.mark.parametrize(("precision", "error"), [("fp16", 2**-11), ("bf16", 2**-8)])
def test_latents_are_rounded_to_the_stated_precision(files, precision, error):
    """Each number by at most half a unit of its last bit."""
    stage = ready(edge_px=32, latent_precision=precision)
    row = run(stage, files[:1]).to_pylist()[0]

    stored = tensor(row["latent"], precision, (192, 4, 4)).float()
    exact = on_the_fly(make_codec(BlockDctConfig()), files[0], 32)

    assert len(row["latent"]) == 2 * exact.numel()
    assert float(((stored - exact).abs() - error * exact.abs()).max()) <= 1e-7


def test_texts_are_kept_by_what_they_say(files, ministral):
    """The empty text first, each text once, unpadded, as the encoder gives it alone."""
    text = {"encoder": "ministral", "weights": str(ministral), "precision": "fp32"}
    stage = ready(codec=None, text=text, text_precision="fp32", variants=["short", "long"])
    told = [
        [("short", "a red picture"), ("long", "a red picture"), ("tags", "red")],
        None,
        [("short", ""), ("long", "a tall blue picture in a square")],
    ]
    direct = MinistralEncoder(MinistralConfig(weights=str(ministral), precision="fp32"))

    found = run(stage, files[:3], told).to_pylist()

    expected = [["", "a red picture"], [""], ["", "a tall blue picture in a square"]]
    for row, texts in zip(found, expected, strict=True):
        assert [text["digest"] for text in row["texts"]] == [text_digest(t) for t in texts]
        encoded = direct.encode(texts, torch.device("cpu"))
        for entry, data, features in zip(row["texts"], row["features"], encoded, strict=True):
            assert entry["tokens"] == len(features)
            assert torch.equal(tensor(data, "fp32", features.shape), features)
    assert stage.pixels() is None


def test_rows_outside_of_where_are_not_selected(files):
    """Neither false nor null is true; the reason is a code of the vocabulary."""
    stage = ready(edge_px=32, where="inspect_width >= 50 AND license  = 'cc0'")

    found = run(
        stage,
        [files[0]] * 4,
        inspect__width=pa.array([50, 49, 64, None], pa.int32()),
        images__license=["cc0", "cc0", None, "cc0"],
    )

    codes = [None if e is None else error_code(e) for e in found["error"].to_pylist()]
    assert codes == [None, "not_selected", "not_selected", "not_selected"]
    assert stage.config.where == "inspect_width >= 50 AND license = 'cc0'"
    assert set(stage.reads()) == {"caption.captions", "inspect.width", "images.license"}


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ("random() < 0.1", "which may give another value each time"),
        ("inspect_width >= (SELECT 1)", "a subquery is refused"),
        ("row < 10", "row is no column that may be asked for"),
        ("inspect_width >=", "expected one SQL expression"),
    ],
)
def test_a_where_that_is_no_predicate_of_a_row_is_refused(where, sentence):
    """When the pipeline is read."""
    with pytest.raises(ConfigError, match=sentence):
        EncodeStage.parse({"where": where}, "stages.encode")


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        ("inspect_width + 1", "the expression is int32, expected true or false"),
        ("inspect_width = 'wide'", "Could not convert string"),
        ("inspect_wide > 1", "reads inspect.wide, but inspect, as configured, writes no wide"),
        ("aesthetic_score > 1", "it reads aesthetic, which is not in the pipeline"),
    ],
)
def test_a_where_that_does_not_fit_its_columns_is_refused(where, sentence):
    """Before anything is started."""
    stages = {"inspect": {}, "caption": {"category": False}, "encode": {"where": where}}
    text = yaml.safe_dump({"name": "a", "dataset": "b", "stages": stages})

    with pytest.raises(ConfigError, match=sentence):
        resolve(parse_pipeline(text, "a.yaml"), STAGES)[-1].check()


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"codec": None, "text": None}, "there is nothing to encode"),
        ({"codec": None, "flip": True}, "flip: mirrors pictures, and codec is null"),
        ({"codec": {"codec": "flux2"}}, "flux2"),
        ({"edgepx": 64}, "did you mean edge_px"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(config, sentence):
    """In a sentence."""
    with pytest.raises(ConfigError, match=sentence):
        EncodeStage.parse(config, "stages.encode")


def test_numbers_that_are_none_are_a_reason(files, vae):
    """A latent that is not finite is not stored."""
    stage = ready(codec={"codec": "flux2_vae", "weights": str(vae)}, text=None, edge_px=32)
    stage._codec._vae.bn.running_mean.fill_(float("nan"))

    found = run(stage, files[:1])

    assert found["error"].to_pylist() == ["nonfinite: latent came out as NaN or infinity"]
    assert found["latent"].to_pylist() == [None]


def fingerprint(name="encode", **config):
    stages = {"inspect": {}, "caption": {"category": False}, name: {"stage": "encode", **config}}
    text = yaml.safe_dump({"name": "a", "dataset": "b", "stages": stages})
    return resolve(parse_pipeline(text, "a.yaml"), STAGES)[-1].fingerprint


def test_whatever_decides_a_value_decides_the_folder(tmp_path):
    """Weights, precision, tokenizer, sizes and predicate do; names, places and devices do not."""
    first, second = save_tiny_vae(tmp_path / "a", 0), save_tiny_vae(tmp_path / "b", 1)
    copy = save_tiny_vae(tmp_path / "c", 0)
    words, other = save_tiny_ministral(tmp_path / "d", 0), save_tiny_ministral(tmp_path / "e", 1)
    codec = {"codec": "flux2_vae", "weights": str(first)}
    text = {"encoder": "ministral", "weights": str(words)}
    changes: list[dict[str, Any]] = [
        {},
        {"codec": {**codec, "weights": str(second)}},
        {"codec": {**codec, "precision": "bf16"}},
        {"codec": None},
        {"text": {**text, "weights": str(other)}},
        {"text": {**text, "tokenizer": str(other)}},
        {"text": {**text, "max_tokens": 64}},
        {"text": {**text, "precision": "fp32"}},
        {"text": None},
        {"edge_px": 512},
        {"flip": True},
        {"variants": ["short"]},
        {"where": "inspect_width > 3"},
        {"latent_precision": "bf16"},
        {"text_precision": "fp32"},
    ]

    found = [fingerprint(**{"codec": codec, "text": text, **change}) for change in changes]

    assert len(set(found)) == len(changes)
    same = [
        fingerprint("other", codec=codec, text=text),
        fingerprint(codec={**codec, "weights": str(copy)}, text=text),
        fingerprint(codec=codec, text=text, run={"device": "cpu", "batch_size": 3}),
    ]
    assert set(same) == {found[0]}
