"""Floating-point operations of the model, and how many a device can make: what MFU is made of."""

import re
from dataclasses import dataclass

import torch

from training.model import Dit, ModelConfig

TERA = 1e12

_PEAKS: tuple[tuple[str, float], ...] = (
    (r"\bGB200\b", 2500.0),
    (r"\bB200\b", 2250.0),
    (r"\bGH200\b", 989.5),
    (r"\bH200 NVL\b", 835.5),
    (r"\bH200\b", 989.5),
    (r"\bH100 PCIe\b", 756.5),
    (r"\bH100 NVL\b", 835.5),
    (r"\b(H100|H800)\b", 989.5),
    (r"\bA100\b|\bA800\b", 312.0),
    (r"\bL40S\b", 362.0),
    (r"\bL4\b", 121.0),
    (r"\bA10\b", 125.0),
)
"""Device name -> bf16 teraFLOP/s of its matrix units without sparsity; the first match counts.

Source: NVIDIA's data sheets of GB200, B200, GH200, H200, H100, A100, L40S, L4 and A10, which print
    the figure with 2:4 sparsity for most of them: half of it is what dense matrices can reach.
"""


def published_peak(device: torch.device, precision: str) -> float | None:
    """Return a device's published peak in FLOP/s; null where none is known.

    Only bf16 has one here: fp32 may run on plain or on matrix units, as torch is set.
    """
    if device.type != "cuda" or precision != "bf16":
        return None
    return peak_of(torch.cuda.get_device_name(device))


def peak_of(name: str) -> float | None:
    """Return the peak of bf16 in FLOP/s of a device by the name that it gives itself."""
    for pattern, teraflops in _PEAKS:
        if re.search(pattern, name):
            return teraflops * TERA
    return None


@dataclass(frozen=True)
class ModelFlops:
    """What matrix products of the transformer cost, two operations for a multiply and add.

    Norms, gates and rotations are left out, as usual: they are no matrix products.

    Attributes:
        per_sample: Of a sample, whatever its size: time and modulation.
        per_image_token: Of an image token, but for attention.
        per_text_token: Of a text token, but for attention.
        per_pair: Of attention, for every two tokens of a sample: nothing is masked for order.
        trained_share: Share of the linear layers' weights that get gradients: 1 unless most are
            frozen, as with LoRA.

    Source: for the blocks, S (2 L (4 D^2 + 3 D F) + 4 L S D) with L layers, width D, feed-forward
        width F and S tokens, image and text; backward costs twice as much (Kaplan et al. 2020,
        arXiv 2001.08361, section 2.1), of which one half is the gradients of weights.
    """

    per_sample: float
    per_image_token: float
    per_text_token: float
    per_pair: float
    trained_share: float = 1.0

    def linear(self, samples: float, image_tokens: float, text_tokens: float) -> float:
        """Return a forward pass but for attention."""
        return (
            samples * self.per_sample
            + image_tokens * self.per_image_token
            + text_tokens * self.per_text_token
        )

    def forward(self, image_tokens: int, text_tokens: int) -> float:
        """Return a forward pass of one sample."""
        pairs = (image_tokens + text_tokens) ** 2
        return self.linear(1, image_tokens, text_tokens) + pairs * self.per_pair

    def backward_of(self, linear: float, attention: float) -> float:
        """Return a backward pass from forward costs: gradients of inputs and of trained weights."""
        return linear * (1 + self.trained_share) + 2 * attention

    def train(self, image_tokens: int, text_tokens: int) -> float:
        """Return a forward and a backward pass of one sample."""
        forward = self.forward(image_tokens, text_tokens)
        attention = (image_tokens + text_tokens) ** 2 * self.per_pair
        return forward + self.backward_of(forward - attention, attention)


def model_flops(
    config: ModelConfig, channels: int, text_width: int, trained_share: float = 1.0
) -> ModelFlops:
    """Count what the transformer computes.

    The final projection is made for text tokens too, and its result thrown away: that is counted,
    since the released model does so.
    """
    width, ffn, layers = config.hidden_size, config.ffn_hidden_size, config.num_layers
    blocks = 2 * layers * (4 * width**2 + 3 * width * ffn)
    out = 2 * width * channels
    text_in = 2 * text_width * width if text_width != width else 0
    # Two layers of the time's embedding, six modulations shared by all blocks, two at the end.
    per_sample = 2 * (2 * width**2 + 6 * width**2 + 2 * width**2)
    return ModelFlops(
        per_sample=per_sample,
        per_image_token=blocks + out + 2 * channels * width,
        per_text_token=blocks + out + text_in,
        per_pair=4 * layers * width,
        trained_share=trained_share,
    )


def trained_share(model: Dit) -> float:
    """Return the share of the weights of linear layers that get gradients."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    total = sum(p.numel() for p in matrices)
    return sum(p.numel() for p in matrices if p.requires_grad) / total
