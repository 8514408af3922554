"""ERNIE-Image-Aes scores as its makers' code does, from their files and without their code."""

import io
from typing import cast

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from skimage import data
from torch.nn import functional as F

from curation.pipeline.stage import Execution, Shard, run_stage
from curation.pixels import views
from stages.aesthetic.ernie_prompt import QUESTION, WORDS, prompt
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


def ready(folder, *, batch_size=3, **config):
    value = {"scorer": "ernie_image_aes", "weights": str(folder), "precision": "fp32", **config}
    stage = AestheticStage(cast(AestheticConfig, AestheticStage.parse(value, "stages.aesthetic")))
    stage.facts = stage.learn()
    stage.execution = Execution("cpu", batch_size)
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
    assert prompt.__module__
    assert published_prompt(16).count(QUESTION) == 1


def test_scores_are_those_of_the_published_rule(tmp_path):
    """The converted checkpoint in transformers gives what the released one gives by its parts."""
    folder = make_internvl(tmp_path / "released", seed=3)
    images = pictures(448)

    found = score(ready(folder), [png(image) for image in images])

    expected = reference_scores(folder, 3, images)
    assert np.ptp(expected) > 2  # the weights tell the pictures apart
    assert found["error"].null_count == len(images)
    assert found["score"].to_pylist() == pytest.approx(expected, abs=1e-3)
