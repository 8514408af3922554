"""What the trainer's benchmark computes besides times."""

import math

import pytest
import torch

from benchmarks import train_batches, train_device
from benchmarks.train import is_met
from benchmarks.turns import Spent, ratios
from training.model import ModelConfig


def test_the_ceiling_is_that_of_the_mean_length():
    """1.75 at 256 image tokens, as the mean of a log-uniform law says, which draws agree with."""
    lengths = train_batches.caption_lengths(20_000)

    mean = sum(lengths) / len(lengths)
    assert train_batches.ceiling() == pytest.approx(1.753, abs=0.001)
    assert (256 + 512) / (256 + mean) == pytest.approx(train_batches.ceiling(), rel=0.01)
    assert min(lengths) >= 40
    assert max(lengths) <= 500


def test_both_ways_show_the_same_and_pad_differently():
    """Padded batches have 512 text tokens; dynamic ones stay within the budget."""
    lengths = train_batches.caption_lengths(64)
    padded = next(train_batches.padded_batches(lengths))
    dynamic = next(train_batches.dynamic_batches(lengths))

    assert padded.text_BTD.shape[1] == 512
    useful, whole = train_batches.count_tokens(padded)
    assert whole == len(padded) * (256 + 512)
    assert useful == len(padded) * 256 + int(padded.text_lens_B.sum())
    useful, whole = train_batches.count_tokens(dynamic)
    assert whole <= train_batches.TOKENS
    assert useful > 0.8 * whole


def test_operations_are_those_of_the_released_model():
    """238.5 TFLOP a sample at 1024 px with 256 text tokens, forward and backward, 36 blocks."""
    model = ModelConfig.model_validate({"preset": "ernie_image_8b"})

    assert train_device.block_flops(train_device.Sizes(model)) / 1e12 == pytest.approx(
        238.5, abs=0.1
    )


def test_operations_agree_with_torchs_count():
    """Another count, torch's own, finds the same operations in a block's forward pass."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    sizes = train_device.small_sizes(1)
    model = train_device.make_model(sizes, torch.device("cpu"))
    blocks = model.transformer.layers
    width, tokens = sizes.model.hidden_size, sizes.tokens
    hidden = torch.randn(tokens, 1, width)
    rotary = model.transformer.pos_embed(train_device.places_BS3(sizes, torch.device("cpu")))
    # It does not know the fused attention of CPUs.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        for block in blocks:
            hidden = block(hidden, rotary, [torch.zeros(tokens, 1, width)] * 6, None)

    assert 3 * counter.get_total_flops() == pytest.approx(train_device.block_flops(sizes))


def test_the_device_part_runs():
    """On small sizes, without a GPU: seconds and operations, and no share of an unknown peak."""
    found = train_device.measure(train_device.small_sizes(1), torch.device("cpu"), warm=1, steps=2)

    assert found["stack_s"] > 0
    assert found["full_step_tflop_s"] >= 0
    assert not any(name.endswith("_mfu") for name in found)


def test_ratios_are_of_pairs():
    """One block that something else disturbed does not move the median."""
    ours = [Spent(2.0, 1.1), Spent(2.0, 1.1), Spent(90.0, 30.0)]
    theirs = [Spent(2.0, 1.0), Spent(1.0, 1.0), Spent(2.0, 1.0)]

    found = ratios(ours, theirs)

    assert found["wall"] == 2.0
    assert math.isclose(found["processor"], 1.1)


def test_targets_are_of_what_was_measured():
    """A figure that was not measured is no failure; one on the wrong side is."""
    assert is_met({"loop_to_bare": 1.05})
    assert not is_met({"loop_to_bare": 1.06})
    assert not is_met({"loop_to_bare": 1.0, "dynamic_to_padded": 1.4})
