"""Aspect buckets: the sizes in which images are trained on."""

from training.encoders.sizes import GRID_PX, REFERENCE_EDGE_PX, scaled_buckets

__all__ = ["GRID_PX", "REFERENCE_EDGE_PX", "scaled_buckets"]
