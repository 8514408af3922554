"""A model handed on: the folder that diffusers' pipeline loads, and back."""

import json

import pytest
import torch
from safetensors.torch import load_file

from tests.fakes.ernie_parts import write_text_encoder, write_vae
from training.draws import SampleKey, draw_normals
from training.encoders.texts import pad
from training.evaluate import draw_pictures
from training.export import export
from training.recipe import parse_recipe
from training.run import Run, train
from training.sampler import sample, sigmas
from training.trained import load_trained

CPU = torch.device("cpu")
SIZES = {"preset": "tiny", "num_layers": 2}
PROMPTS = ["a red picture", "green poster"]


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Write the encoders, each in its folder; the tokenizer lies with the text encoder."""
    folder = tmp_path_factory.mktemp("parts")
    write_vae(folder / "vae")
    write_text_encoder(folder / "text")
    return folder


@pytest.fixture
def released(recipe, parts, tmp_path):
    """Return what makes the recipe of a run with the encoders of ERNIE-Image."""

    def make(**changes):
        return parse_recipe(
            recipe(
                **{
                    "model": SIZES,
                    "codec": {"codec": "flux2_vae", "weights": str(parts / "vae")},
                    "text": {
                        "encoder": "ministral",
                        "weights": str(parts / "text"),
                        "precision": "fp32",
                    },
                    "data": {"edge_px": 64, "batch": {"size": 4}, "micro_size": 4},
                    "optimizer": {"lr": 0.02, "warmup_steps": 0},
                    "loop": {"steps": 2},
                    "evaluation": {"every": 99, "images": 0, "shift": 2.5, "steps": 5},
                    **changes,
                }
            ),
            "toy.yaml",
        )

    return make


@pytest.mark.slow
def test_a_pipeline_draws_what_we_draw(released, tmp_path):
    """Trained on a snapshot, exported, loaded by diffusers: the same latents from the same noise.

    With the recipe's shift from the scheduler's file, guidance, and texts of several lengths; its
    pictures are ours but for rounding.
    """
    import diffusers

    train(released(), device=CPU)
    trained = load_trained(str(tmp_path / "run"), CPU)
    assert export(trained, tmp_path / "out") == "pipeline"
    keys = [SampleKey(0, n.to_bytes(16, "little"), 0) for n in range(2)]
    noise = draw_normals(0, keys, "picture", (trained.codec.channels, 4, 4))
    text, lens = pad(trained.texts.encode(PROMPTS, CPU))
    null = trained.texts.encode([""], CPU)[0]
    levels = sigmas(5, 2.5)
    ours = sample(trained.model, noise, text, lens, null, levels=levels, guidance=4.0)
    pixels = draw_pictures(
        trained.model,
        trained.codec,
        trained.texts,
        trained.recipe.evaluation,
        PROMPTS,
        size=(64, 64),
        device=CPU,
    )

    pipeline = diffusers.ErnieImagePipeline.from_pretrained(tmp_path / "out")
    pipeline.set_progress_bar_config(disable=True)
    asked = {"prompt": PROMPTS, "height": 64, "width": 64, "num_inference_steps": 5}
    asked |= {"guidance_scale": 4.0, "use_pe": False, "latents": noise}
    theirs = pipeline(**asked, output_type="latent").images
    pictures = pipeline(**asked, output_type="np").images

    assert float((ours - noise).abs().max()) > 0.1  # the model predicts something
    assert float((ours - theirs).abs().max()) < 1e-4
    rounded = torch.from_numpy(pictures * 255).round().int()
    assert int((rounded - torch.from_numpy(pixels).int()).abs().max()) <= 1
    assert pipeline.scheduler.config.shift == 2.5
    told = json.loads((tmp_path / "out/longtail.json").read_text())
    assert told["snapshot"] == trained.snapshot


@pytest.mark.slow
def test_an_exported_pipeline_is_a_start(released, tmp_path):
    """A run that starts from it has exactly its weights, and an export says where from."""
    train(released(), device=CPU)
    trained = load_trained(str(tmp_path / "run"), CPU)
    expected = {n: v.clone() for n, v in trained.model.state_dict().items()}
    export(trained, tmp_path / "out")
    again = released(
        model={**SIZES, "weights": str(tmp_path / "out")},
        codec={"codec": "flux2_vae", "weights": str(tmp_path / "out/vae")},
        text={
            "encoder": "ministral",
            "weights": str(tmp_path / "out/text_encoder"),
            "tokenizer": str(tmp_path / "out/tokenizer"),
            "precision": "fp32",
        },
        output=str(tmp_path / "again"),
        optimizer={"lr": 1e-30, "ema_decay": None},
        loop={"steps": 1},
    )

    found = Run(again, CPU).model().state_dict()
    train(again, device=CPU)
    export(load_trained(str(tmp_path / "again"), CPU), tmp_path / "twice")

    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    first, second = (
        load_file(tmp_path / name / "transformer/diffusion_pytorch_model.safetensors")
        for name in ("out", "twice")
    )
    assert all(torch.allclose(first[n], second[n], rtol=0, atol=1e-20) for n in first)
    told = json.loads((tmp_path / "twice/longtail.json").read_text())
    assert told["started_from"]["reference"] == str(tmp_path / "out")
