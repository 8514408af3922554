"""The features of the empty text in a checkpoint."""

import pytest
import torch

from curation.errors import UsageError
from training.null_text import check_null, null_from_json, null_to_json


def test_features_survive_json_to_the_bit():
    """As fp32, whatever they were."""
    null = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))

    assert torch.equal(null_from_json(null_to_json(null)), null)
    half = null.bfloat16()
    assert torch.equal(null_from_json(null_to_json(half)), half.float())


def test_rounding_is_no_other_encoder():
    """bf16 for fp32 passes; other features, and another number of tokens, do not."""
    generator = torch.Generator().manual_seed(0)
    null = torch.randn(1, 64, generator=generator)
    kept = null_to_json(null)

    check_null(kept, null.bfloat16(), "run")
    check_null(None, null, "run")
    with pytest.raises(UsageError, match="run: the text encoder's features of the empty text"):
        check_null(kept, torch.randn(1, 64, generator=generator), "run")
    with pytest.raises(UsageError, match=r"of shape \(2, 64\), not \(1, 64\)"):
        check_null(kept, null.expand(2, -1), "run")
    with pytest.raises(UsageError, match="100% away"):
        check_null(kept, torch.zeros(1, 64), "run")
