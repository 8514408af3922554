"""What a run starts from: read as it lies there, or refused in a sentence."""

import json
import shutil
from pathlib import Path
from typing import Literal

import pytest
import torch
from safetensors.torch import load_file, save_file

from curation.errors import ConfigError, UsageError
from tests.fakes.toys import CHANNELS, WIDTH, make_model
from training.lora import LoraConfig, add_adapter
from training.model import ModelConfig, on_meta
from training.recipe import parse_recipe
from training.run import Run, train
from training.sharding import give_memory
from training.start import TENSORS, find_start
from training.trained import load_trained

CPU = torch.device("cpu")
SIZES = {"preset": "tiny", "num_layers": 2}


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """Write a model as diffusers does, in three parts with an index."""
    folder = tmp_path_factory.mktemp("released") / "transformer"
    make_model().transformer.save_pretrained(folder, max_shard_size="1MB")
    assert len(list(folder.glob("*.safetensors"))) >= 3
    return folder


def blank(**sizes):
    return on_meta(ModelConfig.model_validate({**SIZES, **sizes}), CHANNELS, WIDTH)


def read(reference, model=None):
    """Read weights into a model without any; return its parameters."""
    model = model or blank()
    start = find_start(str(reference))
    give_memory(model, CPU)
    filled = start.read_into(model)
    return {name: p for name, p in model.named_parameters() if name in filled}


@pytest.mark.parametrize("named", ["", "transformer"])
def test_released_weights_are_read_part_by_part(released, named):
    """A pipeline's folder or its `transformer/`: every weight of every part, to the bit."""
    found = read(released.parent / named)

    expected = dict(make_model().named_parameters())
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert (
        find_start(str(released)).digest
        == find_start(str(released.parent)).digest
        != find_start(str(altered(released))).digest
    )


def altered(released, change=lambda tensors: tensors, config=None):
    """Copy a model into one file, changed."""
    copy = released.parent.parent / "altered"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    tensors: dict[str, torch.Tensor] = {}
    for path in released.glob("*.safetensors"):
        tensors |= load_file(path)
    save_file(change(tensors), copy / TENSORS)
    told = json.loads((released / "config.json").read_text()) | (config or {})
    (copy / "config.json").write_text(json.dumps(told))
    return copy


def test_weights_of_fewer_digits_become_fp32(released):
    """bf16 in the file, fp32 in the model, the same numbers."""
    copy = altered(released, lambda found: {n: t.bfloat16() for n, t in found.items()})

    found = read(copy)

    for name, value in make_model().named_parameters():
        assert found[name].dtype == torch.float32
        assert torch.equal(found[name], value.bfloat16().float())


def test_weights_go_under_an_adapter(released):
    """And the adapter is left for whoever draws it."""
    model = blank()
    add_adapter(model, LoraConfig(rank=2, targets=("to_q",)), torch.bfloat16)

    found = read(released, model)

    layer = "transformer.layers.1.self_attention.to_q"
    expected = dict(make_model().named_parameters())[f"{layer}.weight"]
    assert torch.equal(found[f"{layer}.base_layer.weight"], expected.bfloat16())
    assert f"{layer}.lora_A.default.weight" not in found


NAME = "layers.0.mlp.up_proj.weight"


@pytest.mark.parametrize(
    ("change", "config", "sentence"),
    [
        (None, {"num_layers": 36}, "num_layers is 36, the recipe's model has 2; start from"),
        (None, {"text_in_dim": 3072}, "text_in_dim is 3072, the recipe's text encoder gives 8"),
        (None, {"in_channels": 128}, "in_channels is 128, the recipe's codec gives 16"),
        (None, {"_class_name": "FluxTransformer2DModel"}, "is of a FluxTransformer2DModel"),
        (lambda found: found | {"extra": torch.ones(1)}, None, "extra is no weight of"),
        (
            lambda found: {n: t for n, t in found.items() if ".mlp." not in n},
            None,
            "layers.0.mlp.gate_proj.weight is missing, and so for 5 others",
        ),
        (
            lambda found: found | {NAME: found[NAME][:7].clone()},
            None,
            r"up_proj.weight has another shape \(\[7, 128\], expected \[384, 128\]\)",
        ),
    ],
)
def test_weights_of_another_model_are_refused(released, change, config, sentence):
    """The first thing that differs, before any device is taken."""
    copy = altered(released, change or (lambda found: found), config)

    with pytest.raises(ConfigError, match=sentence):
        find_start(str(copy)).check(blank())


def test_pickles_and_cut_files_are_refused(released):
    """Nothing that may run code is opened; half a file is no model."""
    copy = altered(released)
    whole = (copy / TENSORS).read_bytes()
    (copy / TENSORS).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match="cut, or no safetensors file"):
        find_start(str(copy)).check(blank())
    (copy / TENSORS).rename(copy / "diffusion_pytorch_model.bin")

    with pytest.raises(ConfigError, match="pickles, which may run code, are not read"):
        find_start(str(copy)).check(blank())


def test_an_index_leads_nowhere_else(released):
    """A part outside of the folder is refused."""
    copy = altered(released)
    (copy / TENSORS).rename(copy.parent / "outside.safetensors")
    index = {"weight_map": {"a": "../outside.safetensors"}}
    (copy / f"{TENSORS}.index.json").write_text(json.dumps(index))

    with pytest.raises(ConfigError, match=r"has no \.\./outside"):
        find_start(str(copy)).check(blank())


def test_nothing_is_no_start(tmp_path):
    """A folder that is not there, and one without a model."""
    with pytest.raises(UsageError, match="no such file or folder"):
        find_start(str(tmp_path / "none"))
    (tmp_path / "pytorch_lora_weights.safetensors").write_bytes(b"")
    with pytest.raises(ConfigError, match="it is an adapter: export the run with --merge"):
        find_start(str(tmp_path)).check(blank())


def parsed(text, *overrides):
    return parse_recipe(text, "toy.yaml", overrides)


def test_a_run_starts_from_another_runs_weights(recipe, tmp_path):
    """Averaged or last ones, to the bit; the checkpoint says whose; another model's are refused."""
    first = tmp_path / "first"
    train(parsed(recipe(output=str(first), loop={"steps": 2})), device=CPU)
    text = recipe(model={**SIZES, "weights": str(first)}, loop={"steps": 1})

    averaged, last = Run(parsed(text), CPU), Run(parsed(text, "model.last=true"), CPU)

    kinds: tuple[Literal["ema", "model"], ...] = ("ema", "model")
    for run, kind in zip((averaged, last), kinds, strict=True):
        expected = load_trained(str(first), CPU, kind).model.state_dict()
        found = run.model().state_dict()
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert averaged.meaning() != last.meaning()
    train(parsed(text), device=CPU)
    told = json.loads((tmp_path / "run/step-00000001/state.json").read_text())
    assert averaged.start is not None
    assert told["weights"] == {"reference": str(first), "digest": averaged.start.digest}
    other = parsed(recipe(model={"preset": "tiny", "num_layers": 3, "weights": str(first)}))
    with pytest.raises(ConfigError, match=r"layers\.2\.\S+ is missing, and so for"):
        Run(other, CPU).model()


def test_a_run_that_goes_on_does_not_start_again(recipe, tmp_path):
    """Its weights are its checkpoint's; those it started from must still be the same ones."""
    first = tmp_path / "first"
    train(parsed(recipe(output=str(first), loop={"steps": 1})), device=CPU)
    step = first / "step-00000001"
    text = recipe(model={**SIZES, "weights": str(step)}, loop={"steps": 2, "checkpoint_every": 1})
    train(parsed(text, "loop.steps=1"), device=CPU)
    for path in (step / "tensors").glob("*.distcp"):
        path.unlink()  # not to be read again

    train(parsed(text), device=CPU, resume=True)

    state = json.loads((step / "state.json").read_text())
    (step / "state.json").write_text(json.dumps(state | {"usual_loss": 7}))
    with pytest.raises(UsageError, match="made by another recipe"):
        train(parsed(text, "loop.steps=3"), device=CPU, resume=True)
    assert Path(tmp_path / "run/step-00000002/complete.json").exists()
