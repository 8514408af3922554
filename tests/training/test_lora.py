"""LoRA: the adapter is trained and kept, the weights under it are not."""

import json

import pytest
import torch
import torch.distributed as dist
from click.testing import CliRunner
from safetensors.torch import load_file

from curation.cli import longtail
from curation.errors import ConfigError, UsageError
from tests.fakes.toys import CHANNELS, WIDTH, make_batch
from tests.training.test_loop import assert_same, tensors_of
from training.export import export
from training.lora import FILE, LoraConfig, add_adapter, merge_adapter
from training.model import Dit, ModelConfig
from training.recipe import parse_recipe
from training.run import Run, train
from training.trained import load_trained

CPU = torch.device("cpu")
SIZES = {"preset": "tiny", "num_layers": 2}
RECIPE = {"loop": {"steps": 4, "checkpoint_every": 2, "log_every": 1}}


def parsed(text, *overrides):
    return parse_recipe(text, "toy.yaml", overrides)


@pytest.fixture
def base(tmp_path):
    """Return the folder of a `transformer/` that predicts something, for the embedded encoders."""
    torch.manual_seed(0)
    model = Dit(ModelConfig.model_validate(SIZES), 192, 64)
    for parameter in model.parameters():
        if not parameter.abs().max():
            torch.nn.init.normal_(parameter, std=0.02)
    model.transformer.save_pretrained(tmp_path / "base/transformer")
    return tmp_path / "base"


@pytest.fixture
def lora(recipe, base):
    """Return what makes the recipe of a run that adapts it."""

    def make(**changes):
        adapter = {"rank": 4, "alpha": 12, **changes}
        model = {**SIZES, "weights": str(base), "lora": adapter}
        return recipe(model=model, optimizer={"lr": 0.01, "warmup_steps": 0}, **RECIPE)

    return make


@pytest.fixture(autouse=True)
def alone():
    yield
    if dist.is_initialized():
        dist.destroy_process_group()


def picture(trained):
    """Return what a model predicts for a fixed batch."""
    batch = make_batch(3, channels=192)
    text = torch.randn(3, 5, 64, generator=torch.Generator().manual_seed(5))
    sigma = torch.tensor([0.9, 0.5, 0.1])
    with torch.no_grad():
        return trained.model(batch.latent_BCHW, sigma, text, batch.text_lens_B)


def test_only_the_adapter_moves_and_is_kept(lora, base, tmp_path):
    """Checkpoints hold the adapter alone, and say what it adapts; the rest is as it was."""
    train(parsed(lora()), device=CPU)

    kept = tensors_of(tmp_path / "run", 4)
    names = [n for n in kept if "param_groups" not in n and not n.startswith("/generators/")]
    assert names
    assert all(".lora_" in name for name in names)
    assert {name.split("/")[2] for name in names} == {"model", "ema", "optimizer"}
    told = json.loads((tmp_path / "run/step-00000004/state.json").read_text())
    assert told["weights"]["reference"] == str(base)
    trained = load_trained(str(tmp_path / "run"), CPU)
    state = dict(trained.model.named_parameters())
    for key, value in load_file(base / "transformer/diffusion_pytorch_model.safetensors").items():
        under = f"transformer.{key.removesuffix('.weight')}.base_layer.weight"
        assert torch.equal(state[under if under in state else f"transformer.{key}"], value)
    assert float(state["transformer.layers.0.mlp.up_proj.lora_B.default.weight"].abs().max()) > 0


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_adapters_run_goes_on_to_the_bit(lora, recipe, tmp_path, precision):
    """Stopped after two steps and resumed, it ends as one that was left alone."""
    torch.set_num_threads(1)
    text = lora()
    set_ = (f"compute.precision={precision}", f"output={tmp_path / 'straight'}")
    train(parsed(text, *set_), device=CPU)
    halves = (f"compute.precision={precision}", f"output={tmp_path / 'halves'}")
    train(parsed(text, *halves, "loop.steps=2"), device=CPU)

    train(parsed(text, *halves), device=CPU, resume=True)

    for name in ("straight", "halves"):
        path = tmp_path / name / "step-00000004/state.json"
        state = json.loads(path.read_text())
        state["recipe"].pop("output")
        path.write_text(json.dumps(state))
    assert_same(tmp_path / "straight", tmp_path / "halves", 4)


def test_an_exported_adapter_is_what_diffusers_loads(lora, base, tmp_path):
    """Loaded onto the weights that it adapts, with its alpha, it predicts what ours does."""
    import diffusers

    train(parsed(lora()), device=CPU)
    trained = load_trained(str(tmp_path / "run"), CPU)
    ours = picture(trained)

    assert export(trained, tmp_path / "out") == "adapter"

    assert not (tmp_path / "out/transformer").exists()
    assert all(key.startswith("transformer.layers.") for key in load_file(tmp_path / "out" / FILE))
    told = json.loads((tmp_path / "out/longtail.json").read_text())
    assert told["started_from"] == trained.state["weights"]
    model = trained.model
    loaded = diffusers.ErnieImageTransformer2DModel.from_pretrained(base / "transformer").eval()
    model.transformer = loaded
    assert not torch.allclose(picture(trained), ours, atol=1e-3)
    state, metadata = diffusers.ErnieImagePipeline.lora_state_dict(
        str(tmp_path / "out"), return_lora_metadata=True
    )
    diffusers.ErnieImagePipeline.load_lora_into_transformer(state, loaded, metadata=metadata)
    assert torch.allclose(picture(trained), ours, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [([], "an adapter, loads with load_lora_weights"), (["--merge"], "/transformer: loads with")],
)
def test_the_command_says_what_it_wrote(lora, tmp_path, options, sentence):
    """An adapter, or with `--merge` a transformer for encoders that diffusers does not have."""
    train(parsed(lora(), "loop.steps=1"), device=CPU)

    asked = ["export", str(tmp_path / "run"), str(tmp_path / "out"), *options]
    result = CliRunner().invoke(longtail, asked)

    assert result.exit_code == 0, result.output
    assert sentence in result.output


def test_a_merged_adapter_is_a_model_to_start_from(lora, recipe, tmp_path):
    """It predicts what both did, has the keys of a plain model, and is read to the bit."""
    train(parsed(lora()), device=CPU)
    trained = load_trained(str(tmp_path / "run"), CPU)
    ours = picture(trained)

    assert export(trained, tmp_path / "out", merge=True) == "transformer"

    weights = {**SIZES, "weights": str(tmp_path / "out")}
    run = Run(parsed(recipe(output=str(tmp_path / "next"), model=weights)), CPU)
    trained.model = run.model().eval()
    assert torch.allclose(picture(trained), ours, atol=1e-5)
    written = load_file(tmp_path / "out/transformer/diffusion_pytorch_model.safetensors")
    found = trained.model.transformer.state_dict()
    assert found.keys() == written.keys()
    assert all(torch.equal(found[name], written[name]) for name in written)


def test_a_checkpoint_without_its_base_is_refused(lora, base, recipe, tmp_path):
    """Weights that are others than those adapted are not taken; an adapter is no start."""
    train(parsed(lora()), device=CPU)
    start = {**SIZES, "weights": str(tmp_path / "run")}
    with pytest.raises(UsageError, match="holds an adapter, no model; `longtail export --merge`"):
        Run(parsed(recipe(model=start, output=str(tmp_path / "next"))), CPU)
    config = base / "transformer/config.json"
    config.write_text(config.read_text() + "\n")

    with pytest.raises(UsageError, match="put those back that it was trained on"):
        load_trained(str(tmp_path / "run"), CPU)


def test_an_adapter_stays_with_the_step_that_it_adapts(recipe, tmp_path):
    """The run whose weights it adapts may go on."""
    first = recipe(output=str(tmp_path / "first"))
    train(parsed(first, "loop.steps=1"), device=CPU)
    model = {**SIZES, "weights": str(tmp_path / "first"), "lora": {"rank": 4}}
    train(parsed(recipe(model=model), "loop.steps=1"), device=CPU)
    before = load_trained(str(tmp_path / "run"), CPU)
    train(parsed(first, "loop.steps=2"), device=CPU, resume=True)

    after = load_trained(str(tmp_path / "run"), CPU)

    assert torch.equal(picture(after), picture(before))


def test_only_an_adapter_is_merged(recipe, tmp_path):
    """A run of all weights has none."""
    train(parsed(recipe(loop={"steps": 1})), device=CPU)

    with pytest.raises(UsageError, match="there is no adapter to merge"):
        export(load_trained(str(tmp_path / "run"), CPU), tmp_path / "out", merge=True)
    assert not (tmp_path / "out").exists()


def test_an_adapter_needs_weights(recipe):
    """Beside weights of chance it would be of no use."""
    with pytest.raises(ConfigError, match="an adapter needs weights that it adapts"):
        parsed(recipe(model={**SIZES, "lora": {}}))


def toy(targets):
    model = Dit(ModelConfig.model_validate(SIZES), CHANNELS, WIDTH)
    add_adapter(model, LoraConfig(rank=2, targets=targets), torch.float32)
    return {name.split(".lora_")[0] for name, _ in model.named_parameters() if ".lora_" in name}


def test_targets_are_ends_of_names_or_a_pattern():
    """A list means layers that end so, a text is a regular expression for the whole name."""
    assert toy(("to_q",)) == {f"transformer.layers.{n}.self_attention.to_q" for n in (0, 1)}
    assert toy(r"layers\.1\.mlp\..*_proj") == {
        f"transformer.layers.1.mlp.{name}_proj" for name in ("gate", "up")
    }
    assert len(toy(LoraConfig().targets)) == 14


@pytest.mark.parametrize("targets", [("to_q", "to_x"), r"layers\.7\..*", ("mlp",)])
def test_targets_that_are_no_linear_layers_are_refused(targets):
    """With what there is."""
    with pytest.raises(ConfigError, match=r"should name linear layers.*self_attention\.to_q"):
        toy(targets)


def test_merging_leaves_a_plain_model():
    """No trace of peft stays."""
    model = Dit(ModelConfig.model_validate(SIZES), CHANNELS, WIDTH)
    keys = model.state_dict().keys()
    add_adapter(model, LoraConfig(rank=2), torch.float32)

    merge_adapter(model)

    assert model.state_dict().keys() == keys
