"""ERNIE-Image-Aes scores as its makers' code does, from their files and without their code."""

import io
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from skimage import data
from torch.nn import functional as F

from curation.errors import ConfigError
from curation.pipeline.stage import Execution, Shard, run_stage
from curation.pixels import View, views
from stages.aesthetic.ernie import expected_score
from stages.aesthetic.ernie_prompt import SYSTEM_MESSAGE, WORDS, prompt
from stages.aesthetic.scorer import AestheticConfig
from stages.aesthetic.stage import AestheticStage
from tests.fakes.tiny_internvl import LANGUAGE, VISION, make_internvl, random_tensors
from tests.stages.aesthetic.rows import identity
from training.encoders.torchvision_ops import declare_missing_ops

# A transcription of the published rule ------------------------------------------------------------


def published_words():
    """0 to 25 are aa to az, 26 to 50 ca to cy, 51 to 75 da to dy, 76 to 100 ea to ey."""
    words = {}
    for first, begin, end in (("a", 0, 25), ("c", 26, 50), ("d", 51, 75), ("e", 76, 100)):
        for score in range(begin, end + 1):
            words[score] = first + chr(ord("a") + score - begin)
    return [words[score] for score in range(101)]


def published_prompt(num_image_tokens):
    system = (
        "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的"  # noqa: RUF001
        "多模态大语言模型。"
    )
    question = """
        Rate the aesthetics score of the image in 0-100. 
        In the output format, numbers are replaced by 2 corresponding letters, 
        and the mapping relationship is: 
        score 0 to 25: 0-aa, 1-ab, 2-ac, 3-ad, ... , 25-az,
        score 26 to 50: 26-ca, 27-cb, 28-cc, 29-cd, ..., 50-cy,
        score 51 to 75: 51-da, 52-db, 53-dc, 54-dd, ..., 75-dy,
        score 76 to 100: 76-ea, 77-eb, 78-ec, 79-ed, ..., 100-ey.

        The answer only outputs 2 corresponding letters.
        """  # noqa: W291
    image = "<img>" + "<IMG_CONTEXT>" * num_image_tokens + "</img>"
    return (
        f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{image}\n{question}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def of(tensors, layer, name):
    return tensors[f"{layer}.{name}.weight"], tensors[f"{layer}.{name}.bias"]


def normed(x, weight, bias):
    return F.layer_norm(x, x.shape[-1:], weight, bias, 1e-6)


def vision_tower(tensors, pixels):
    """InternViT from its parts: pre-norm blocks, each branch scaled channel by channel."""
    head = "vision_model.embeddings"
    patches = F.conv2d(
        pixels,
        tensors[f"{head}.patch_embedding.weight"],
        tensors[f"{head}.patch_embedding.bias"],
        stride=VISION["patch_size"],
    )
    x = patches.flatten(2).transpose(1, 2)
    x = torch.cat([tensors[f"{head}.class_embedding"].expand(len(x), -1, -1), x], 1)
    x = x + tensors[f"{head}.position_embedding"]
    heads, width = VISION["num_attention_heads"], VISION["hidden_size"]
    for number in range(VISION["num_hidden_layers"]):
        layer = f"vision_model.encoder.layers.{number}"

        y = normed(x, *of(tensors, layer, "norm1"))
        qkv = F.linear(y, *of(tensors, layer, "attn.qkv")).reshape(
            *y.shape[:2], 3, heads, width // heads
        )
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        weights = (q * (width // heads) ** -0.5 @ k.transpose(-2, -1)).softmax(-1)
        y = F.linear((weights @ v).transpose(1, 2).flatten(2), *of(tensors, layer, "attn.proj"))
        x = x + y * tensors[f"{layer}.ls1"]
        y = normed(x, *of(tensors, layer, "norm2"))
        y = F.linear(
            F.gelu(F.linear(y, *of(tensors, layer, "mlp.fc1"))), *of(tensors, layer, "mlp.fc2")
        )
        x = x + y * tensors[f"{layer}.ls2"]
    return x[:, 1:]


def shuffled(x):
    """Four neighbouring patches become one vector, `ps_version` v2."""
    n, count, width = x.shape
    edge = int(count**0.5)
    x = x.reshape(n, edge, edge // 2, width * 2).permute(0, 2, 1, 3)
    x = x.reshape(n, edge // 2, edge // 2, width * 4).permute(0, 2, 1, 3)
    return x.reshape(n, -1, width * 4)


def reference_scores(folder, seed, images):
    """Score images by the released architecture, put together from its parts, in fp32."""
    declare_missing_ops()
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    tensors = random_tensors(seed)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = torch.stack([(torch.tensor(image) / 255 - mean) / std for image in images])
    x = shuffled(vision_tower(tensors, pixels.permute(0, 3, 1, 2)))
    x = F.layer_norm(x, x.shape[-1:], tensors["mlp1.0.weight"], tensors["mlp1.0.bias"])
    x = F.gelu(F.linear(x, tensors["mlp1.1.weight"], tensors["mlp1.1.bias"]))
    x = F.linear(x, tensors["mlp1.3.weight"], tensors["mlp1.3.bias"])

    facts = {key: value for key, value in LANGUAGE.items() if not key.startswith("rope")}
    language = Qwen2ForCausalLM(
        Qwen2Config(**facts, rope_parameters={"rope_type": "default", "rope_theta": 1e6})
    ).eval()
    prefix = "language_model."
    own = {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}
    language.load_state_dict(own)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = torch.tensor(tokenizer.encode(published_prompt(x.shape[1])))
    here = ids == tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")
    words = [tokenizer.convert_tokens_to_ids(word) for word in published_words()]
    scores = []
    for vectors in x:
        embeddings = language.get_input_embeddings()(ids)
        embeddings[here] = vectors
        with torch.inference_mode():
            logits = language(inputs_embeds=embeddings[None]).logits[0, -1, words]
        scores.append(float(logits.softmax(-1) @ torch.arange(101.0)))
    return scores


# The stage ----------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LONGTAIL_CACHE", str(tmp_path / "cache"))


def configured(folder, **config):
    value = {"scorer": "ernie_image_aes", "weights": str(folder), "precision": "fp32", **config}
    stage = AestheticStage(cast(AestheticConfig, AestheticStage.parse(value, "stages.aesthetic")))
    stage.facts = stage.learn()
    stage.execution = Execution("cpu", 3)
    return stage


def ready(folder, **config):
    stage = configured(folder, **config)
    stage.check()
    stage.setup()
    return stage


def png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def pictures(size=None):
    found = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    if size is None:
        return found
    return [np.asarray(Image.fromarray(p).resize((size, size))) for p in found]


def score(stage, files, **columns):
    spec = stage.pixels()
    table = identity(len(files))
    for name, values in columns.items():
        table = table.append_column(name.replace("__", "."), pa.array(values, pa.float32()))
    return run_stage(stage, Shard(0, table, lambda n: views(files[n], [spec])[0]))


def test_the_prompt_is_the_published_one():
    """To the last blank: the model knows no other."""
    assert list(WORDS) == published_words()
    assert prompt(SYSTEM_MESSAGE, 16) == published_prompt(16)


def test_scores_are_those_of_the_published_rule(tmp_path):
    """The converted checkpoint in transformers gives what the released one gives by its parts."""
    folder = make_internvl(tmp_path / "released", seed=3)
    images = pictures(448)

    found = score(ready(folder), [png(image) for image in images])

    expected = reference_scores(folder, 3, images)
    assert np.ptp(expected) > 2  # the weights tell the pictures apart
    assert found["error"].null_count == len(images)
    assert found["score"].to_pylist() == pytest.approx(expected, abs=1e-3)


def test_bf16_moves_scores_by_little(tmp_path):
    """As released: half a point where the original rounds its scores to halves."""
    folder = make_internvl(tmp_path / "released", seed=3, dtype=torch.bfloat16)
    files = [png(image) for image in pictures()]

    exact = score(ready(folder, precision="fp32"), files)["score"].to_pylist()
    found = score(ready(folder, precision="bf16"), files)["score"].to_pylist()

    assert found == pytest.approx(exact, abs=0.5)
    assert found != exact


def test_a_score_depends_on_its_own_image_alone(tmp_path):
    """To the last bit: alone, in company, at the end of a shard that fills no batch."""
    stage = ready(make_internvl(tmp_path / "released"), precision="bf16")
    files = [png(image) for image in pictures()]

    together = score(stage, files)["score"].to_pylist()
    alone = [score(stage, [file])["score"][0].as_py() for file in files]
    backwards = score(stage, files[::-1])["score"].to_pylist()[::-1]

    assert together == alone == backwards
    assert len(set(together)) == len(files)


def test_the_model_sees_full_batches_only(tmp_path):
    """One shape, so that no sum is taken in another order; what fills up has no score."""
    stage = ready(make_internvl(tmp_path / "released"))
    engine = stage._scorer._engine
    model, shapes = engine._model, []

    def watch(**inputs):
        shapes.append(tuple(inputs["pixel_values"].shape))
        return model(**inputs)

    engine._model = watch
    found = score(stage, [png(data.coffee())] * 4)

    assert shapes == [(3, 3, 448, 448)] * 2
    assert len(found) == 4
    assert len(set(found["score"].to_pylist())) == 1


def test_several_shards_in_flight(tmp_path):
    """Several threads get what one gets."""
    stage = ready(make_internvl(tmp_path / "released"))
    files = [png(image) for image in pictures()]
    expected = score(stage, files)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: score(stage, files), range(8)))

    assert all(table.equals(expected) for table in found)


def test_an_image_that_cannot_be_seen_has_no_score(tmp_path):
    """Its neighbours keep theirs."""
    stage = ready(make_internvl(tmp_path / "released"))
    good = png(data.coffee())

    found = score(stage, [good, b"no image", good])

    assert found["score"].is_null().to_pylist() == [False, True, False]
    assert found["error"].to_pylist()[1].startswith("unsupported: ")
    assert score(stage, [b"", b""])["score"].to_pylist() == [None, None]


def test_weights_that_overflow_give_a_reason(tmp_path):
    """NaN is no score."""
    folder = make_internvl(tmp_path / "released")
    stage = ready(folder)
    engine = stage._scorer._engine
    engine._words = engine._words * float("nan")

    found = score(stage, [png(data.coffee())])

    assert found["error"].to_pylist() == ["nonfinite: score came out as NaN or infinity"]


def test_half_precision_is_refused_on_a_cpu(tmp_path):
    """As for every other model; the message says what to take."""
    stage = configured(make_internvl(tmp_path / "model"), precision="fp16")

    with pytest.raises(ConfigError, match="fp16 needs a GPU; say bf16 or fp32"):
        stage.check()


def test_the_expected_value_takes_logits_up_to_a_constant():
    """One sure word is its score, equal ones are their mean; shifting all changes nothing."""
    sure = np.full(101, -1000.0)
    sure[73] = 500.0
    two = np.full(101, -1000.0)
    two[[10, 20]] = -3.0

    assert expected_score(sure) == pytest.approx(73)
    assert expected_score(two) == pytest.approx(15)
    assert expected_score(two + 800) == pytest.approx(15)
    assert expected_score(np.zeros(101)) == pytest.approx(50)


# What is given instead of the model ---------------------------------------------------------------


def test_the_checkpoint_is_converted_once(tmp_path):
    """A second worker finds the files; other weights are others."""
    first = make_internvl(tmp_path / "first", seed=1)
    ready(first)
    (converted,) = (tmp_path / "cache" / "converted").glob("[!.]*")
    before = {path.name: path.stat().st_mtime_ns for path in converted.iterdir()}
    ready(first)
    after = {path.name: path.stat().st_mtime_ns for path in converted.iterdir()}
    ready(make_internvl(tmp_path / "second", seed=2))

    assert before == after
    assert "modeling_internvl_chat.py" not in before
    assert "auto_map" not in json.loads((converted / "config.json").read_text())
    assert len(list((tmp_path / "cache" / "converted").glob("[!.]*"))) == 2


def test_the_converted_files_hold_the_same_bytes(tmp_path):
    """Behind other headers; nothing is computed, and queries, keys and values are views of it."""
    folder = make_internvl(tmp_path / "released", dtype=torch.bfloat16)
    ready(folder)
    (converted,) = (tmp_path / "cache" / "converted").glob("[!.]*")

    names = sorted(path.name for path in folder.glob("*.safetensors"))
    for name in names:
        assert tensor_bytes(folder / name) == tensor_bytes(converted / name)
    released = {k: t for name in names for k, t in load_file(folder / name).items()}
    found = {k: t for name in names for k, t in load_file(converted / name).items()}
    layer = "vision_tower.encoder.layer.1.attention"
    parts = [found[f"{layer}.{name}_proj.weight"] for name in "qkv"]
    assert torch.cat(parts).equal(released["vision_model.encoder.layers.1.attn.qkv.weight"])
    assert set(
        json.loads((converted / "model.safetensors.index.json").read_text())["weight_map"]
    ) == set(found)


def tensor_bytes(path):
    content = path.read_bytes()
    return content[8 + int.from_bytes(content[:8], "little") :]


def test_a_broken_checkpoint_leaves_nothing_converted(tmp_path):
    """And works once it is whole."""
    folder = make_internvl(tmp_path / "released")
    (part,) = folder.glob("model-00002-*")
    part.rename(tmp_path / part.name)

    with pytest.raises(ConfigError, match="model-00002-of-00002.safetensors is not there"):
        ready(folder)
    assert list((tmp_path / "cache" / "converted").glob("[!.]*")) == []
    (tmp_path / part.name).rename(part)
    ready(folder)


def test_a_tensor_of_another_model_is_named(tmp_path):
    """Rather than left out."""
    folder = make_internvl(tmp_path / "released")
    (part,) = folder.glob("model-00001-*")
    save_file({**load_file(part), "score_head.weight": torch.zeros(1)}, part)

    with pytest.raises(ConfigError, match="has a tensor 'score_head.weight'"):
        ready(folder)


def test_weights_are_never_made_up(tmp_path):
    """A tensor that the files lack is refused; transformers would draw it at random."""
    folder = make_internvl(tmp_path / "released")
    (part,) = folder.glob("model-00001-*")
    tensors = load_file(part)
    del tensors["language_model.model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, part)

    with pytest.raises(ConfigError, match=r"1 tensors .*layers.1.mlp.up_proj.weight"):
        ready(folder)


def test_a_cut_file_is_refused(tmp_path):
    """Before anything reads it, with what it has and should have."""
    folder = make_internvl(tmp_path / "released")
    (part,) = folder.glob("model-00002-*")
    whole = part.read_bytes()

    for content, words in (
        (whole[:-1], f"has {len(whole) - 1} bytes, expected {len(whole)}"),
        (b"<html>not here</html>", "is no safetensors file"),
        (b"", "is no safetensors file"),
    ):
        part.write_bytes(content)
        with pytest.raises(ConfigError, match=words):
            ready(folder)


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("model_type", "internvl", "model_type is 'internvl', expected 'internvl_chat'"),
        ("template", "phi3-chat", "template is 'phi3-chat'"),
        ("ps_version", "v1", "ps_version is 'v1', expected 'v2'"),
        ("select_layer", -2, "select_layer is -2"),
        ("force_image_size", 224, "force_image_size is 224, expected 448"),
        ("llm_config", {"architectures": ["Phi3ForCausalLM"]}, "llm_config.architectures is"),
        ("llm_config", {"architectures": ["Qwen2ForCausalLM"]}, "llm_config has no number hidden"),
    ],
)
def test_other_models_are_refused_before_anything_starts(tmp_path, key, value, found):
    """With what was found and what was expected."""
    folder = make_internvl(tmp_path / "released", **{key: value})

    with pytest.raises(ConfigError, match=found):
        configured(folder).check()


def test_a_folder_without_a_model_is_refused(tmp_path):
    """And a file."""
    folder = make_internvl(tmp_path / "released")
    (folder / "config.json").unlink()
    (tmp_path / "one.safetensors").write_bytes(b"x")

    with pytest.raises(ConfigError, match="expected the config.json of ERNIE-Image-Aes"):
        configured(folder).check()
    with pytest.raises(ConfigError, match="expected the folder of the model"):
        configured(tmp_path / "one.safetensors").check()


def test_a_tokenizer_of_another_model_is_refused(tmp_path):
    """A score word of two tokens has no probability of its own."""
    folder = make_internvl(tmp_path / "released", words=WORDS[:-1])

    with pytest.raises(ConfigError, match=r"makes 2 tokens of 'ey'.*must be exactly one"):
        ready(folder)


def test_without_vllm_the_doctor_is_told(tmp_path, monkeypatch):
    """And a run is refused; transformers needs nothing besides packages."""
    folder = make_internvl(tmp_path / "released")
    monkeypatch.setenv("LONGTAIL_VLLM_PYTHON", str(tmp_path / "none"))
    stage = configured(folder, engine="vllm")

    (finding,) = stage.probe()
    assert not finding.is_good
    assert "cannot be run" in finding.found
    with pytest.raises(ConfigError, match="cannot be run"):
        stage.check()
    assert list(configured(folder).probe()) == []


def test_what_scores_mean(tmp_path):
    """The weights' content, engine, precision and prompt; neither their place nor the device."""
    first = make_internvl(tmp_path / "first", seed=1)
    moved = tmp_path / "moved"
    shutil.copytree(first, moved)
    other = make_internvl(tmp_path / "other", seed=2)

    def meaning(folder, **config):
        stage = configured(folder, **config)
        return stage.config.model_dump(mode="json"), stage.facts["weights"], stage.digests()

    assert meaning(first) == meaning(moved)
    assert meaning(first) != meaning(other)
    assert meaning(first) != meaning(first, precision="bf16")
    assert meaning(first) != meaning(first, engine="vllm")
    assert meaning(first)[2].keys() == {"prompt"}


def test_pixels_are_those_of_the_published_transform(tmp_path):
    """Up to twice the size to the last bit; above, where we halve first, to a level on average."""
    spec = configured(make_internvl(tmp_path / "released")).pixels()
    for picture, factor in zip(pictures(), (1.0, 1.7, 2.3, 3.1), strict=True):
        image = Image.fromarray(picture)
        image = image.resize((int(image.width * factor), int(image.height * factor)))
        published = np.asarray(image.resize((448, 448), Image.Resampling.BICUBIC), np.int16)

        (view,) = views(png(np.asarray(image)), [spec])

        assert isinstance(view, View)
        difference = np.abs(view.pixels - published)
        assert difference.mean() < (1 if factor > 2 else 1e-9)
