"""A corpus of images with known answers, made from what ordinary packages bring along."""

from curation.demo.corpus import CorpusSummary, make_corpus

__all__ = ["CorpusSummary", "make_corpus"]
