"""Small batches, models and sources for tests of the trainer."""

import torch

from training.data.batch import Batch
from training.data.memory import MemorySource
from training.data.plan import BatchConfig
from training.draws import SampleKey
from training.model import Dit, ModelConfig

CHANNELS, EDGE, WIDTH = 16, 4, 8


def make_batch(count, *, num_global=None, channels=CHANNELS, part=slice(None)):
    """Make a batch of random latents and texts; `part` cuts it out of the same one."""
    generator = torch.Generator().manual_seed(0)
    latent = torch.randn(count, channels, EDGE, EDGE, generator=generator)
    text = torch.randn(count, 5, WIDTH, generator=generator)
    lens = torch.randint(1, 6, (count,), generator=generator)
    keys = tuple(SampleKey(0, n.to_bytes(16, "big"), 0) for n in range(count))
    return Batch(
        latent[part],
        text[part],
        lens[part],
        torch.zeros(1, WIDTH),
        keys[part],
        ("default",) * len(keys[part]),
        torch.ones(len(keys[part])),
        num_global or count,
        0,
    )


def make_model(seed=0, **sizes):
    """Make a tiny transformer without layers of zeros, so that gradients reach everything."""
    config = ModelConfig.model_validate({"preset": "tiny", "num_layers": 2, **sizes})
    torch.manual_seed(seed)
    model = Dit(config, CHANNELS, WIDTH)
    for parameter in model.parameters():
        if not parameter.abs().max():
            torch.nn.init.normal_(parameter, std=0.02)
    return model


def make_source(count=37, size=5, *, seed=3, **where):
    """Make a source of random latents with texts of several lengths."""
    generator = torch.Generator().manual_seed(1)
    return MemorySource(
        torch.randn(count, CHANNELS, EDGE, EDGE, generator=generator),
        torch.randn(count, 9, WIDTH, generator=generator),
        torch.randint(1, 10, (count,), generator=generator),
        torch.randn(2, WIDTH, generator=generator),
        batch=BatchConfig(size=size),
        seed=seed,
        **where,
    )
