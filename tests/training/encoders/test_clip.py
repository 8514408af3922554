"""CLIP models: real file layouts in, the vectors of open_clip out."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from curation.errors import ConfigError
from tests.fakes import tiny_clip
from training.encoders.clip import ClipModel, ClipSettings, clip_facts
from training.encoders.clip_weights import check_release
from training.encoders.torchvision_ops import declare_missing_ops

MAKERS: dict[str, Any] = {"clip": tiny_clip.clip_folder, "siglip": tiny_clip.siglip_folder}
TEXTS = ["red bicycle at night", "a dog", "a photo of a cat, asleep"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("models")
    return {kind: make(base / kind) for kind, make in MAKERS.items()}


def load(folder, batch_size=None, **settings):
    return ClipModel.load(ClipSettings(weights=str(folder), **settings), folder, "cpu", batch_size)


def random_pixels(num, size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (num, size, size, 3), np.uint8)


def reference(folder):
    """Load a folder as users of open_clip do."""
    import open_clip

    name = f"local-dir:{folder}"
    model, _, transform = open_clip.create_model_and_transforms(name)
    return model.eval(), transform, open_clip.get_tokenizer(name)


@pytest.mark.parametrize("kind", MAKERS)
def test_both_towers_say_what_open_clip_says(folders, kind):
    """For the same pixels and texts, every vector is open_clip's, and so are scale and bias."""
    import torch

    ours = load(folders[kind])
    model, transform, tokenizer = reference(folders[kind])
    pixels = random_pixels(3, ours.size_px)
    seen = torch.stack([transform.transforms[-1](_to_tensor(image)) for image in pixels])
    with torch.inference_mode():
        images = model.encode_image(seen, normalize=True).numpy()
        texts = model.encode_text(tokenizer(TEXTS), normalize=True).numpy()

    assert np.abs(ours.encode_images(pixels) - images).max() < 1e-5
    assert np.abs(ours.encode_texts(TEXTS) - texts).max() < 1e-5
    assert ours.logit_scale == pytest.approx(model.logit_scale.exp().item())
    bias = model.logit_bias
    assert ours.logit_bias == (None if bias is None else pytest.approx(bias.item()))


def _to_tensor(image):
    from torchvision.transforms import functional

    return functional.to_tensor(image)


def test_the_format_is_known_by_content(folders, tmp_path):
    """A file that was fetched has another name; the model must be the one that is named."""
    import open_clip
    from safetensors.torch import save_file

    state = tiny_clip.random_model(open_clip.get_model_config("ViT-S-32-alt")).state_dict()
    file = tmp_path / "s32.safetensors-0123456789abcdef"
    save_file(state, file)
    settings = ClipSettings(model="ViT-S-32-alt", weights=str(file))

    assert ClipModel.load(settings, file, "cpu", 1).dimension == 256
    with pytest.raises(ConfigError, match=r"not the weights of ViT-S-16-alt: .* expected"):
        ClipModel.load(settings.model_copy(update={"model": "ViT-S-16-alt"}), file, "cpu")


@pytest.mark.parametrize("kind", MAKERS)
def test_bf16_texts_are_nearly_those_of_fp32(folders, kind):
    """A cosine of at least 0.998 a text."""
    exact, rounded = load(folders[kind]), load(folders[kind], precision="bf16")

    found = (exact.encode_texts(TEXTS) * rounded.encode_texts(TEXTS)).sum(axis=1)

    assert found.min() > 0.998
    assert not np.array_equal(exact.encode_texts(TEXTS), rounded.encode_texts(TEXTS))


@pytest.mark.parametrize("kind", MAKERS)
def test_a_row_depends_on_itself_alone(folders, kind):
    """Alone, in another place, in a batch that is not full: the same to the last bit."""
    model = load(folders[kind], batch_size=4)
    pixels = random_pixels(7, model.size_px)
    images, texts = model.encode_images(pixels), model.encode_texts(TEXTS * 4)

    assert np.array_equal(model.encode_images(pixels[::-1]), images[::-1])
    assert np.array_equal(model.encode_images(pixels[5:6])[0], images[5])
    assert np.array_equal(model.encode_texts(TEXTS[1:2])[0], texts[1])
    assert np.array_equal(texts[:3], texts[9:])
    assert model.encode_images(pixels[:0]).shape == (0, model.dimension)
    assert model.encode_texts([]).shape == (0, model.dimension)


def test_long_texts_are_cut(folders):
    """A text beyond the context is what its beginning is."""
    model = load(folders["clip"])

    long, cut = model.encode_texts(["a dog " * 200, "a dog " * 150])

    assert np.array_equal(long, cut)


def test_states_of_trainers_are_read(folders, tmp_path):
    """A .pt of bare tensors, one of open_clip's trainer, and .safetensors give the same model."""
    import torch
    from safetensors.torch import load_file

    folder = folders["clip"]
    state = load_file(folder / "open_clip_model.safetensors")
    wrapped = {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}}
    pixels = random_pixels(2, 32)
    expected = load(folder).encode_images(pixels)

    for content in (state, wrapped):
        other = tmp_path / str(len(content))
        other.mkdir()
        (other / "open_clip_config.json").write_bytes(
            (folder / "open_clip_config.json").read_bytes()
        )
        torch.save(content, other / "open_clip_pytorch_model.bin")

        assert np.array_equal(load(other).encode_images(pixels), expected)


def with_weights(folder, target, change):
    """Copy a folder with its state changed."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, target)
    file = target / "open_clip_model.safetensors"
    state = load_file(file)
    change(state)
    save_file(state, file)
    return target


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("visual.proj"), "visual.proj is missing (1 missing, 0 unknown"),
        (
            lambda state: state.update(extra=state["visual.proj"].clone()),
            "extra is not part of the model (0 missing, 1 unknown",
        ),
        (
            lambda state: state.update(
                {"visual.positional_embedding": state["visual.positional_embedding"][:5].clone()}
            ),
            "visual.positional_embedding is (5, 64), expected (17, 64)",
        ),
    ],
)
def test_weights_of_another_model_are_refused(folders, tmp_path, change, said):
    """The first odd key is named; positions are not stretched until they fit."""
    folder = with_weights(folders["clip"], tmp_path / "odd", change)

    with pytest.raises(ConfigError) as caught:
        load(folder)

    assert said in str(caught.value)
    assert "name the model that they belong to" in str(caught.value)


class Bomb:
    """Runs when it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path(MARK),))


MARK = "was run"


@pytest.mark.filterwarnings("ignore:`torch.jit", "ignore:'torch.load' received a zip file")
@pytest.mark.parametrize("kind", ["pickle", "torchscript", "garbage", "list"])
def test_files_that_may_hold_code_are_never_run(folders, tmp_path, monkeypatch, kind):
    """A pickle, an archive of TorchScript (as OpenAI's), and what is no state dict."""
    import torch

    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "open_clip_config.json").write_bytes(
        (folders["clip"] / "open_clip_config.json").read_bytes()
    )
    file = folder / "open_clip_model.pt"
    if kind == "pickle":
        torch.save({"visual.proj": Bomb()}, file)
    elif kind == "torchscript":
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(file))
    elif kind == "list":
        torch.save([torch.zeros(2)], file)
    else:
        file.write_bytes(b"no archive")

    said = "holds no state dict" if kind == "list" else "cannot be read as weights alone"
    with pytest.raises(ConfigError, match=said):
        load(folder)

    assert not (tmp_path / MARK).exists()


def described(folder, target, **parts):
    """Copy a folder with its description changed."""
    shutil.copytree(folder, target)
    path = target / "open_clip_config.json"
    config = json.loads(path.read_text())
    for name, change in parts.items():
        part = config["preprocess_cfg"] if name == "preprocess" else config["model_cfg"][name]
        part.update(change)
    path.write_text(json.dumps(config))
    return target


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (
            {"preprocess": {"resize_mode": "longest"}},
            "'longest'; only shortest and squash are supported",
        ),
        ({"preprocess": {"interpolation": "lanczos"}}, "only bicubic and bilinear and random"),
        ({"preprocess": {"mean": "grey"}}, "expected three numbers"),
        ({"preprocess": {"std": [1, 1]}}, "expected three numbers"),
        ({"vision_cfg": {"image_size": "large"}}, "only square ones"),
        ({"vision_cfg": {"image_size": [32, 64]}}, "only square ones"),
        ({"vision_cfg": {"timm_model_name": "hf-hub:evil/model"}}, "would be downloaded"),
        ({"text_cfg": {"hf_model_name": "xlm-roberta-base"}}, "would be downloaded"),
    ],
)
def test_what_cannot_be_done_is_refused_before_torch_is_needed(folders, tmp_path, parts, said):
    """Descriptions that would lead to a download, or to pixels that nobody trained on."""
    folder = described(folders["clip"], tmp_path / "odd", **parts)

    with pytest.raises(ConfigError) as caught:
        clip_facts(ClipSettings(weights=str(folder)), folder)

    assert said in str(caught.value)


def test_a_text_tower_with_code_of_its_own_is_refused(folders, tmp_path):
    """Transformers would offer to run it."""
    folder = described(folders["clip"], tmp_path / "odd", text_cfg={"hf_model_name": "own"})
    (folder / "config.json").write_text('{"auto_map": {"AutoModel": "evil.Model"}}')

    with pytest.raises(ConfigError, match="auto_map names code of its own"):
        clip_facts(ClipSettings(weights=str(folder)), folder)


def test_a_text_tower_of_transformers_is_built_from_the_folder(tmp_path):
    """Its config.json lies beside the weights, and nothing is downloaded."""
    from transformers import RobertaConfig

    folder = tmp_path / "roberta"
    folder.mkdir()
    RobertaConfig(
        vocab_size=64,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
        pad_token_id=0,
    ).save_pretrained(folder)
    text_cfg = {
        "hf_model_name": str(folder),
        "hf_model_pretrained": False,
        "hf_tokenizer_name": "own",
        "hf_pooler_type": "mean_pooler",
        "hf_proj_type": "mlp",
        "context_length": 16,
    }
    model_cfg = {**tiny_clip.CLIP_CFG, "custom_text": True, "text_cfg": text_cfg}
    model = tiny_clip.random_model(model_cfg)
    model_cfg["text_cfg"] = {**text_cfg, "hf_model_name": "roberta-base"}
    tiny_clip.save_folder(folder, model, model_cfg, tiny_clip.CLIP_PREPROCESS)
    tiny_clip.save_tokenizer(folder)

    vectors = load(folder).encode_texts(TEXTS)

    assert vectors.shape == (3, 32)
    assert np.abs(vectors[0] - vectors[1]).max() > 0.01


def test_without_its_tokenizer_a_model_still_sees(tmp_path):
    """Images are embedded; a text is refused in a sentence, and nothing is downloaded."""
    folder = tiny_clip.siglip_folder(tmp_path / "siglip", with_tokenizer=False)
    model = load(folder)

    assert model.encode_images(random_pixels(1, 160)).shape == (1, 96)
    with pytest.raises(ConfigError, match=r"tokenizer \(tiny/siglip\) is not beside the weights"):
        model.encode_texts(TEXTS)


def test_a_folder_says_what_it_lacks(folders, tmp_path):
    """A name where there is no description, and weights."""
    bare = shutil.copytree(folders["clip"], tmp_path / "bare")
    (bare / "open_clip_config.json").unlink()
    file = bare / "open_clip_model.safetensors"

    with pytest.raises(ConfigError, match="so the model must be named: `model: ViT-L-14`"):
        clip_facts(ClipSettings(weights=str(bare)), bare)
    with pytest.raises(ConfigError, match="needs the model's name: `model: ViT-L-14`"):
        clip_facts(ClipSettings(weights=str(file)), file)
    assert clip_facts(ClipSettings(model="ViT-L-14", weights=str(bare)), bare)["dimension"] == 768
    file.unlink()
    with pytest.raises(ConfigError, match="holds no weights of open_clip"):
        clip_facts(ClipSettings(weights=str(bare)), bare)


def test_a_release_must_fit_its_model(folders):
    """OpenAI's weights want another activation than the plain name has."""
    file = folders["clip"] / "open_clip_model.safetensors"

    def attempt(model, release):
        ClipModel.load(ClipSettings(model=model, release=release, weights=str(file)), file, "cpu")

    with pytest.raises(ConfigError, match="say `model: ViT-B-32-quickgelu`"):
        attempt("ViT-B-32", "openai")
    with pytest.raises(ConfigError, match=r"no 'opnai' of ViT-B-32 \(did you mean openai"):
        attempt("ViT-B-32", "opnai")


def test_the_pipeline_for_laions_predictor_names_the_model_that_it_was_trained_on():
    """With the plain name, OpenAI's weights load and give other vectors."""
    path = Path(__file__).parents[3] / "configs/models/aesthetics.yaml"
    embed = yaml.safe_load(path.read_text(encoding="utf-8"))["stages"]["embed"]
    settings = ClipSettings(**{key: embed.get(key) for key in ("model", "release", "weights")})

    assert settings.release == "openai"
    declare_missing_ops()
    check_release(settings)


def test_a_gpu_that_is_not_there_is_asked_for_in_vain(folders):
    """With a sentence, where torch has none."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ConfigError, match=r"no GPU on this machine; say `run: \{device: cpu\}`"):
        ClipModel.load(ClipSettings(weights=str(folders["clip"])), folders["clip"], "cuda")


def test_facts_need_neither_torch_nor_open_clip(folders):
    """They are read from JSON, so that a plan costs no import of seconds."""
    code = f"""
import sys
from pathlib import Path
from training.encoders.clip import ClipSettings, clip_facts
folder = Path({str(folders["clip"])!r})
print(clip_facts(ClipSettings(weights=str(folder)), folder)["dimension"])
file = folder / "open_clip_model.safetensors"
named = ClipSettings(model="ViT-SO400M-14-SigLIP2-378", weights=str(file))
print(clip_facts(named, file)["size_px"])
print([name for name in ("torch", "open_clip", "transformers") if name in sys.modules])
"""

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["32", "378", "[]"]


def test_a_tokenizer_cannot_ask_to_be_trusted(folders, tmp_path, monkeypatch):
    """Whatever a folder's files say, its code is not run."""
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    trust = {"tokenizer_kwargs": {"clean": "canonicalize", "trust_remote_code": True}}
    folder = described(folders["siglip"], tmp_path / "odd", text_cfg=trust)
    (folder / "own.py").write_text(f"open({str(tmp_path / MARK)!r}, 'w')\nclass Own: pass\n")
    config = {"auto_map": {"AutoTokenizer": [None, "own.Own"]}, "tokenizer_class": "Own"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))

    with pytest.raises(ConfigError, match="its tokenizer cannot be read"):
        load(folder).encode_texts(TEXTS)

    assert not (tmp_path / MARK).exists()
