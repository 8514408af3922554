"""`embed: open_clip`: it sees what open_clip's own transform shows, and keeps the contract."""

import io
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageCms

from curation.errors import ConfigError
from curation.pipeline.stage import Execution, Resources, run_stage
from stages.embed.stage import EmbedStage
from tests.fakes import tiny_clip
from tests.stages.photographs import FILES, file_bytes, image_shard, original, photograph

MAKERS: dict[str, Any] = {"clip": tiny_clip.clip_folder, "siglip": tiny_clip.siglip_folder}
KINDS = list(MAKERS)
NAMES = ("astronaut", "chelsea", "coffee", "coins", "retina", "dahlia", "hopper", "motorcycle_left")

# What curation.pixels shows otherwise than Pillow's `convert("RGB")`: these two have a profile.
PROFILED = ("page", "rocket")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("models")
    return {kind: make(base / kind) for kind, make in MAKERS.items()}


def configured(folder, execution=None, **config):
    """Return a stage with its facts, not yet set up."""
    value = {"embedder": "open_clip", **config, "weights": config.get("weights", str(folder))}
    parsed = EmbedStage.parse(value, "stages.embed")
    stage = EmbedStage(parsed)  # type: ignore[arg-type]
    stage.execution = execution or Execution()
    stage.facts = stage.learn()
    return stage


def ready(folder, execution=None, **config):
    stage = configured(folder, execution, **config)
    stage.check()
    stage.setup()
    return stage


def embed(stage, files):
    return run_stage(stage, image_shard(files, stage.pixels()))


def vectors(table):
    assert table["error"].null_count == len(table), table["error"].to_pylist()
    return np.array(table["vector"].to_pylist(), np.float64)


def theirs(folder, files):
    """Embed files as users of open_clip do: Pillow, its transform, its model."""
    import open_clip
    import torch

    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    images = [Image.open(io.BytesIO(file)) for file in files]
    with torch.inference_mode():
        batch = torch.stack([transform(image) for image in images])
        return model.eval().encode_image(batch, normalize=True).double().numpy()


def cosines(left, right):
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return (left * right).sum(axis=1) / lengths


@pytest.mark.parametrize("kind", KINDS)
def test_real_files_have_the_vectors_that_open_clip_gives_them(folders, kind):
    """Grey and colour, all sizes and both ways to resize: a cosine of at least 0.999 each.

    That is less than what tells two photographs apart, even in a model with random weights.
    """
    names = [name for name in FILES if name not in PROFILED]
    files = [original(name) for name in names]
    expected = theirs(folders[kind], files)

    found = vectors(embed(ready(folders[kind]), files))

    assert dict(zip(names, cosines(found, expected), strict=True)) == {
        name: pytest.approx(1, abs=1e-3) for name in names
    }
    others = found @ expected.T - 2 * np.eye(len(names))
    assert np.median(others.max(axis=1)) < 0.999


@pytest.mark.parametrize("kind", KINDS)
def test_profile_transparency_and_orientation_are_what_differs(folders, kind):
    """open_clip ignores all three; given what should be seen, it agrees."""
    picture = photograph("coffee")
    exif = Image.Exif()
    exif[0x0112] = 6
    turned, see_through, profiled = io.BytesIO(), io.BytesIO(), io.BytesIO()
    picture.save(turned, "PNG", exif=exif)
    mask = Image.new("L", picture.size, 255)
    mask.paste(0, (0, 0, picture.width, picture.height // 2))
    layered = picture.copy()
    layered.putalpha(mask)
    layered.save(see_through, "PNG")
    Image.open(io.BytesIO(original("rocket"))).save(
        profiled, "PNG", icc_profile=Image.open(io.BytesIO(original("rocket"))).info["icc_profile"]
    )
    files = [turned.getvalue(), see_through.getvalue(), profiled.getvalue()]
    seen = [
        picture.transpose(Image.Transpose.ROTATE_270),
        Image.composite(picture, Image.new("RGB", picture.size, "white"), mask),
        _in_srgb(Image.open(profiled)),
    ]

    found = vectors(embed(ready(folders[kind]), files))

    assert cosines(found, theirs(folders[kind], [_png(image) for image in seen])).min() > 0.999
    assert cosines(found, theirs(folders[kind], files))[:2].max() < 0.999


def _in_srgb(image):
    profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
    converted: Any = ImageCms.profileToProfile(
        image,
        profile,
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    converted.info.pop("icc_profile", None)
    return converted


def _png(image):
    sink = io.BytesIO()
    image.save(sink, "PNG")
    return sink.getvalue()


@pytest.mark.slow
def test_a_model_of_real_size_agrees_too(tmp_path):
    """ViT-B-32 with random weights, loaded by name from a .safetensors file and from a .pt file."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    model_cfg = open_clip.get_model_config("ViT-B-32")
    state = tiny_clip.random_model(model_cfg).state_dict()
    save_file(state, tmp_path / "b32.safetensors")
    torch.save(state, tmp_path / "b32.pt")
    files = [original(name) for name in ("coffee", "retina", "coins", "hopper")]
    model, _, transform = open_clip.create_model_and_transforms(
        "ViT-B-32", pretrained=str(tmp_path / "b32.pt")
    )
    with torch.inference_mode():
        batch = torch.stack([transform(Image.open(io.BytesIO(file))) for file in files])
        expected = model.eval().encode_image(batch).double().numpy()

    found = {
        suffix: embed(ready(tmp_path / f"b32.{suffix}", model="ViT-B-32"), files)
        for suffix in ("safetensors", "pt")
    }

    assert found["pt"].equals(found["safetensors"])
    assert cosines(vectors(found["pt"]), expected).min() > 0.999
    half = ready(tmp_path / "b32.safetensors", model="ViT-B-32", precision="bf16")
    assert cosines(vectors(embed(half, files)), expected).min() > 0.999


@pytest.mark.parametrize("kind", KINDS)
def test_bf16_gives_nearly_the_vectors_of_fp32(folders, kind):
    """A cosine of at least 0.998 an image, and another meaning."""
    files = [original(name) for name in NAMES]

    exact, rounded = ready(folders[kind]), ready(folders[kind], precision="bf16")

    found = cosines(vectors(embed(exact, files)), vectors(embed(rounded, files)))
    assert found.min() > 0.998
    assert exact.config.model_dump() != rounded.config.model_dump()


@pytest.mark.parametrize("kind", KINDS)
def test_rows_may_be_cut_and_shuffled_in_any_way(folders, kind):
    """A row's vector is the same to the bit alone, in any order, in slices, and on a second run."""
    stage = ready(folders[kind])
    files = [file_bytes(photograph(name)) for name in NAMES * 3]
    whole = embed(stage, files)
    order = np.random.default_rng(0).permutation(len(files))

    shuffled = embed(stage, [files[k] for k in order])
    parts = [embed(stage, files[:5]), embed(stage, files[5:])]
    alone = embed(stage, files[-1:])

    assert shuffled["vector"].equals(whole["vector"].take(pa.array(order)))
    assert pa.concat_tables(parts).combine_chunks().equals(whole.combine_chunks())
    assert alone["vector"][0] == whole["vector"][-1]
    assert embed(ready(folders[kind]), files).equals(whole)


@pytest.mark.parametrize("kind", KINDS)
def test_the_batch_size_is_no_meaning(folders, kind):
    """Other batches move a number by its rounding at most."""
    files = [file_bytes(photograph(name)) for name in NAMES[:5]]
    one, three = (ready(folders[kind], Execution("cpu", size)) for size in (1, 3))

    difference = vectors(embed(one, files)) - vectors(embed(three, files))

    assert np.abs(difference).max() < 1e-3
    assert one.config == three.config


def test_several_threads_get_what_one_gets(folders):
    """Shards in flight share the model."""
    stage = ready(folders["clip"])
    lists = [[file_bytes(photograph(name)) for name in NAMES[k : k + 4]] for k in range(4)]
    expected = [embed(stage, files) for files in lists]
    found: dict[int, pa.Table] = {}

    def work(number):
        found[number] = embed(stage, lists[number])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [found[number] for number in range(4)] == expected
    assert stage.backend.resources == Resources(
        cpus=1, gpus=1, memory_bytes=16 << 30, own_pool=True, shards_in_flight=2
    )


def test_an_image_that_cannot_be_read_costs_its_row(folders):
    """Its neighbours have vectors; so does an image that lies beside one without finite numbers."""
    stage = ready(folders["clip"])
    good = file_bytes(photograph("coins"))
    files = [good, b"", good, b"no image"]

    found = embed(stage, files)

    assert found["vector"].is_valid().to_pylist() == [True, False, True, False]
    reasons = [error and error.split(":")[0] for error in found["error"].to_pylist()]
    assert reasons == [None, "empty", None, "unsupported"]


def test_weights_with_nan_are_an_error_of_every_row(tmp_path):
    """A broken model writes reasons, no numbers."""
    folder = tiny_clip.clip_folder(tmp_path / "broken")
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "open_clip_model.safetensors")
    state["visual.proj"][:] = float("nan")
    save_file(state, folder / "open_clip_model.safetensors")

    found = embed(ready(folder), [file_bytes(photograph("coins"))])

    assert found["error"].to_pylist()[0].startswith("nonfinite")


def test_facts_say_what_a_reader_needs(folders, tmp_path):
    """Dimension, view and columns are known without weights, from facts alone."""
    learnt = configured(folders["siglip"])

    reader = EmbedStage(learnt.config)
    reader.facts = learnt.facts

    assert learnt.facts["dimension"] == 96
    assert reader.writes() == learnt.writes()
    assert reader.pixels() == learnt.pixels()
    spec = reader.pixels()
    assert spec is not None
    assert (spec.size_px, spec.fit, spec.filter) == (160, "squash", "bicubic")
    shown = configured(folders["clip"]).pixels()
    assert shown is not None
    assert (shown.size_px, shown.fit) == (32, "crop")


def test_what_decides_on_vectors_is_in_the_digests(folders, tmp_path):
    """Another normalisation or other weights are another meaning; another place is not."""
    import shutil

    moved = shutil.copytree(folders["clip"], tmp_path / "moved")
    other = tiny_clip.clip_folder(tmp_path / "other", seed=1)
    mean = tiny_clip.clip_folder(tmp_path / "mean", {"mean": [0.5, 0.5, 0.5]})

    def digests(folder):
        stage = configured(folder)
        return {**stage.digests(), **stage.facts["weights"]}

    known = digests(folders["clip"])
    assert digests(moved) == known
    assert digests(other)["open_clip"] != known["open_clip"]
    assert digests(mean)["architecture"] != known["architecture"]


def test_another_description_than_planned_is_refused(folders):
    """A worker whose open_clip builds another model does not mix its vectors in."""
    stage = configured(folders["clip"])
    stage.facts = {**stage.facts, "architecture": "0" * 32}

    with pytest.raises(ConfigError, match="otherwise than the one that the run was planned with"):
        stage.setup()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"precision": "fp16"}, "precision: fp16 needs a GPU; say bf16 or fp32"),
        ({"precision": "int8"}, "precision"),
        ({"weights": "/no/such/folder"}, "/no/such/folder: no such file or folder"),
        ({"weights": "hf://timm/vit"}, "the 40 hexadecimal digits of a commit"),
        ({"model": "ViT-L14"}, "open_clip knows no 'ViT-L14' (did you mean ViT-L-14"),
        ({"model": "ViT-L-14"}, "describes another model than ViT-L-14; leave `model` out"),
        ({"size": 3}, "size: unknown key"),
    ],
)
def test_wrong_configurations_are_refused_in_sentences(folders, config, said):
    """Before anything is loaded."""
    with pytest.raises(ConfigError) as caught:
        ready(folders["clip"], **config)

    assert said in str(caught.value)


def test_a_missing_package_names_the_extra(folders, monkeypatch):
    """On a machine without open_clip, the check before the run says what to install."""
    import importlib.util

    stage = configured(folders["clip"])
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "open_clip" else real(name)
    )

    with pytest.raises(ConfigError, match=r"open_clip is not installed; `pip install 'longtail"):
        stage.check()
    with pytest.raises(ConfigError, match="pip install"):
        configured(Path(folders["clip"]) / "open_clip_model.safetensors", model="ViT-B-32")
