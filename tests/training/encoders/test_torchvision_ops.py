"""torchvision can be imported beside a torch without CUDA."""

import subprocess
import sys

import pytest
import torch

from training.encoders.torchvision_ops import declare_missing_ops

_SCRIPT = """
import gc
from training.encoders.torchvision_ops import declare_missing_ops
first = declare_missing_ops()
assert declare_missing_ops() == first
gc.collect()
import torch, torchvision, open_clip
from torchvision.transforms.v2 import functional
assert functional.resize(torch.zeros(3, 4, 4), [2, 2]).shape == (3, 2, 2)
try:
    torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    works = True
except (NotImplementedError, RuntimeError):
    works = False
print("declared" if first else "loaded", "works" if works else "fails")
"""


@pytest.mark.slow
def test_torchvision_and_what_needs_it_import() -> None:
    """Called twice and first of all; a missing operator still fails when used."""
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], capture_output=True, text=True, timeout=200, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() in (["declared", "fails"], ["loaded", "works"])


def test_a_torch_for_cuda_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """There, operators that do not load are a broken installation that shall show."""
    monkeypatch.setattr("training.encoders.torchvision_ops._kept", [])
    monkeypatch.setattr(torch.version, "cuda", "13.0")

    assert not declare_missing_ops()
