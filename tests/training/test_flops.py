"""What the model costs: as the published table says, and as torch counts it."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from training.flops import TERA, model_flops, peak_of, published_peak, trained_share
from training.model import Dit, ModelConfig


def config(preset):
    return ModelConfig.model_validate({"preset": preset})


@pytest.mark.parametrize(
    ("image_tokens", "text_tokens", "teraflops"),
    [
        (256, 128, 18.4),
        (256, 256, 24.6),
        (1024, 256, 63.2),
        (4096, 128, 230.6),
        (4096, 256, 238.5),
        (4096, 512, 254.7),
    ],
)
def test_blocks_cost_what_the_formula_says(image_tokens, text_tokens, teraflops):
    """The blocks of the released model, S (2 L (4 D^2 + 3 D F) + 4 L S D) three times."""
    sizes = config("ernie_image_8b")
    blocks = model_flops(sizes, channels=0, text_width=sizes.hidden_size)
    whole = model_flops(sizes, channels=128, text_width=3072)

    found = blocks.train(image_tokens, text_tokens) / TERA

    assert found == pytest.approx(teraflops, abs=0.06)
    assert whole.train(image_tokens, text_tokens) / TERA == pytest.approx(found, rel=2e-3)


@pytest.mark.parametrize(("batch", "edge", "text"), [(2, 4, 7), (1, 8, 40)])
def test_the_count_is_torchs_own(batch, edge, text):
    """Forward to the last operation; backward within 1.5 %: the first layers' inputs need none.

    torch counts attention where it is made of plain matrix products.
    """
    model = Dit(config("tiny"), 192, 64)
    flops = model_flops(config("tiny"), 192, 64)
    given = (
        torch.randn(batch, 192, edge, edge),
        torch.rand(batch),
        torch.randn(batch, text, 64),
        torch.full((batch,), text),
    )
    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as forward:
            model(*given)
        with FlopCounterMode(display=False) as both:
            model(*given).sum().backward()

    assert forward.get_total_flops() == batch * flops.forward(edge**2, text)
    assert both.get_total_flops() == pytest.approx(batch * flops.train(edge**2, text), rel=0.015)


def test_frozen_weights_cost_no_gradients():
    """With all linear layers frozen, a step is a forward pass and the inputs' gradients."""
    model = Dit(config("tiny"), 192, 64)
    assert trained_share(model) == 1
    for parameter in model.parameters():
        parameter.requires_grad_(False)

    frozen = model_flops(config("tiny"), 192, 64, trained_share(model))

    attention = 24**2 * frozen.per_pair
    linear = frozen.forward(16, 8) - attention
    assert frozen.train(16, 8) == 2 * linear + 3 * attention


@pytest.mark.parametrize(
    ("name", "teraflops"),
    [
        ("NVIDIA H200", 989.5),
        ("NVIDIA H200 NVL", 835.5),
        ("NVIDIA H100 80GB HBM3", 989.5),
        ("NVIDIA H100 PCIe", 756.5),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA L40S", 362),
        ("NVIDIA B200", 2250),
        ("NVIDIA H20", None),
        ("NVIDIA L40", None),
        ("NVIDIA GeForce GTX 1080", None),
    ],
)
def test_peaks_are_published_or_unknown(name, teraflops):
    """A name that only looks like a known one has no peak."""
    assert peak_of(name) == (None if teraflops is None else teraflops * TERA)


def test_a_cpu_has_no_peak():
    """No number is made up."""
    assert published_peak(torch.device("cpu"), "bf16") is None
