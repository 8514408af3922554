"""The hierarchical sampler: not a stage with files of its own, but what a snapshot draws with."""

from stages.sample.sampler import HierarchicalSampler

__all__ = ["HierarchicalSampler"]
