"""Averages of weights."""

import torch
from torch import nn

from training.ema import Ema


def test_averages_follow_the_weights():
    """An average is what its formula says; the first updates count more."""
    module = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        module.weight.fill_(0)
    ema = Ema(module, 0.99)
    expected = 0.0
    for n in range(1, 30):
        with torch.no_grad():
            module.weight.fill_(float(n))
        ema.update()
        decay = min(0.99, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * n

    assert torch.allclose(ema.shadow["weight"], torch.full((1, 2), expected))


def test_averages_are_applied_for_a_while():
    """Inside, the module computes with them; afterwards it has its weights back, to the bit."""
    module = nn.Linear(3, 3)
    ema = Ema(module, 0.5)
    before = module.weight.detach().clone()
    with torch.no_grad():
        module.weight.add_(1)
    after = module.weight.detach().clone()

    with ema.applied():
        assert torch.equal(module.weight, before)
    assert torch.equal(module.weight, after)


def test_frozen_weights_have_no_average():
    """What is not trained is not copied."""
    module = nn.Linear(2, 2)
    module.bias.requires_grad_(False)

    assert set(Ema(module, 0.9).shadow) == {"weight"}
