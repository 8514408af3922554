"""Sizes in which images are trained on."""

import pytest

from curation.snapshot.config import ERNIE_IMAGE_BUCKETS
from training.data.buckets import scaled_buckets


def test_the_released_sizes_are_kept_at_their_own_area():
    """At 1024 px the buckets are those of the released model."""
    assert scaled_buckets(1024, 16) == ERNIE_IMAGE_BUCKETS


@pytest.mark.parametrize(("edge", "stride"), [(32, 8), (64, 8), (256, 16), (512, 16), (256, 24)])
def test_buckets_fit_the_codec_and_keep_their_proportions(edge, stride):
    """Edges are multiples of the stride and of 16; turned sizes stay turned sizes."""
    buckets = scaled_buckets(edge, stride)

    assert all(n % stride == 0 and n % 16 == 0 and n > 0 for size in buckets for n in size)
    assert {(h, w) for w, h in buckets} == set(buckets)
    assert buckets[0] == (edge // 48 * 48,) * 2 if stride == 24 else buckets[0] == (edge, edge)
