"""A head on embeddings answers as the published predictors do."""

import itertools
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file

from curation.errors import ConfigError
from curation.pipeline.stage import Shard, run_stage
from schemas.embed import embed_table
from stages.aesthetic.clip_head import load_head
from stages.aesthetic.scorer import AestheticConfig
from stages.aesthetic.stage import AestheticStage
from tests.stages.aesthetic.rows import identity

WIDTHS = (768, 1024, 128, 64, 16, 1)


def published(seed=0):
    """LAION's MLP: linear layers with dropout between them, which does nothing at inference."""
    torch.manual_seed(seed)
    layers: list[torch.nn.Module] = []
    for inputs, outputs in itertools.pairwise(WIDTHS):
        layers.append(torch.nn.Linear(inputs, outputs))
        if outputs > 16:
            layers.append(torch.nn.Dropout(0.2 if outputs > 64 else 0.1))
    model = torch.nn.Module()
    model.layers = torch.nn.Sequential(*layers)
    with torch.no_grad():
        last = layers[-1]
        assert isinstance(last, torch.nn.Linear)
        last.bias.fill_(5.0)
        last.weight.mul_(200.0)  # so that images differ
    return model.eval()


def vectors(count=300, dimension=768):
    drawn = np.random.default_rng(0).normal(size=(count, dimension))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def configured(path, dimension=768, **config):
    value = {"scorer": "clip_head", "weights": str(path), **config}
    stage = AestheticStage(cast(AestheticConfig, AestheticStage.parse(value, "stages.aesthetic")))
    stage.facts = stage.learn()
    embed: Any = SimpleNamespace(writes=lambda: embed_table(dimension))
    stage.upstream = {"embed": embed}
    return stage


def score(stage, found):
    kind = embed_table(found.shape[1]).field("vector").type
    halves = pa.array(found.astype(np.float16).ravel())
    column = pa.FixedSizeListArray.from_arrays(halves, type=kind)
    stage.check()
    stage.setup()
    return run_stage(stage, Shard(0, identity(len(found)).append_column("embed.vector", column)))


@pytest.fixture(params=[".safetensors", ".pth"])
def head_file(request, tmp_path):
    state = published().state_dict()
    path = tmp_path / f"head{request.param}"
    if request.param == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    return path


def test_scores_are_those_of_the_published_predictor(head_file):
    """Ten times what the module in torch says, from either kind of file; more rows than a batch."""
    found = vectors()
    with torch.inference_mode():
        model = published()
        expected = 10 * model.layers(torch.tensor(found, dtype=torch.float32))[:, 0].numpy()

    scores = score(configured(head_file), found)["score"].to_numpy()

    assert np.ptp(expected) > 10
    assert 0 < expected.min() < expected.max() < 100
    assert scores == pytest.approx(expected, abs=0.1)


def test_half_precision_moves_a_score_by_less_than_stated(head_file):
    """By 2^-11 of the length of the head's gradient at most."""
    found = vectors()
    head = load_head(head_file)
    gradient = np.eye(768)
    for weight, _ in head.layers:
        gradient = weight @ gradient
    exact = 10 * head(found)

    scores = score(configured(head_file), found)["score"].to_numpy()

    bound = 10 * 2.0**-11 * np.linalg.norm(gradient)
    assert 0 < np.abs(scores - exact).max() < bound + 1e-4


def test_a_linear_head_is_one_layer(tmp_path):
    """`weight` and `bias` without a number, as the first predictors have them; cut to the scale."""
    weight = torch.zeros(1, 4)
    weight[0, 0] = 30.0
    save_file({"weight": weight, "bias": torch.tensor([0.5])}, tmp_path / "linear.safetensors")
    found = np.eye(4)[[0, 1]] * [[1], [1]]

    stage = configured(tmp_path / "linear.safetensors", 4)
    other = configured(tmp_path / "linear.safetensors", 4, scale=2, offset=-3)

    assert score(stage, found)["score"].to_pylist() == [100.0, 5.0]
    assert score(other, found)["score"].to_pylist() == [58.0, 0.0]


def test_a_score_depends_on_its_own_vector_alone(head_file):
    """To the last bit."""
    found = vectors(5)
    stage = configured(head_file)

    together = score(stage, found)["score"].to_pylist()

    assert together == [score(stage, found[n : n + 1])["score"][0].as_py() for n in range(5)]


def test_a_row_without_a_vector_has_no_score(head_file):
    """And says which column is null."""
    stage = configured(head_file)
    stage.setup()
    column = pa.array([None], embed_table(768).field("vector").type)

    found = run_stage(stage, Shard(0, identity(1).append_column("embed.vector", column)))

    assert found["error"].to_pylist() == ["missing_input: embed.vector is null"]


def test_a_head_for_other_vectors_is_refused(head_file):
    """Before anything starts, with both lengths."""
    with pytest.raises(ConfigError, match=r"takes vectors of 768 numbers.*writes 512"):
        configured(head_file, dimension=512).check()


def test_a_pickle_runs_nothing(tmp_path):
    """A file that holds code is refused."""
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return marker.touch, ()

    torch.save({"weight": Evil()}, tmp_path / "head.pth")

    with pytest.raises(ConfigError, match="holds other things than tensors"):
        load_head(tmp_path / "head.pth")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"layers.0.weight": (1, 4), "layers.0.running_mean": (4,)}, "'layers.0.running_mean'"),
        ({"layers.0.weight": (2, 4), "layers.1.weight": (1, 3)}, "layer 1 does not fit"),
        ({"layers.0.weight": (2, 4)}, "last layer has 2 outputs; expected one"),
        ({"layers.0.weight": (1, 4), "layers.0.bias": (2,)}, "1 outputs and 2 biases"),
        ({"layers.0.bias": (1,)}, "layer 0 does not fit"),
        ({"a.0.weight": (1, 4), "b.0.weight": (1, 4)}, "two tensors for the weight of layer 0"),
    ],
)
def test_what_is_no_head_is_refused(tmp_path, tensors, words):
    """With the tensor or layer that is wrong."""
    path = tmp_path / "head.safetensors"
    save_file({name: torch.zeros(shape) for name, shape in tensors.items()}, path)

    with pytest.raises(ConfigError, match=words):
        load_head(path)


def test_other_files_are_refused(tmp_path):
    """By their ending, and by what is in them."""
    for name, words in (("head.bin", "ends in"), ("head.safetensors", "no safetensors file")):
        (tmp_path / name).write_bytes(b"nothing")
        with pytest.raises(ConfigError, match=words):
            load_head(tmp_path / name)


def test_vectors_count_at_length_one(head_file):
    """As the published predictors were trained; half precision leaves lengths not quite so."""
    found = vectors(20)

    scores = score(configured(head_file), found)["score"].to_numpy()
    shorter = score(configured(head_file), 0.75 * found)["score"].to_numpy()

    assert shorter == pytest.approx(scores, abs=0.05)
