"""How much of the planted truth dedup finds, and how much that is none."""

import pytest

from benchmarks.dedup import TARGETS
from benchmarks.dedup_truth import inspect_corpus, linked, score
from curation.demo import make_corpus
from stages.dedup.stage import DedupConfig, PerceptualConfig


@pytest.mark.slow
def test_direct_edges_reach_the_promised_recall_and_precision(tmp_path):
    """Re-encoded, resized, recoloured, watermarked and slightly cropped copies, at the defaults."""
    make_corpus(tmp_path / "corpus", images=600, seed=7)
    corpus = inspect_corpus(tmp_path / "corpus")

    found = score(corpus, linked(corpus.rows, DedupConfig()))

    assert PerceptualConfig().radius == 8
    assert found.num_duplicates > 100
    assert set(found.by_kind) >= {"reencoded", "resized", "recoloured", "watermarked", "cropped"}
    assert found.recall >= TARGETS["recall"], found
    assert found.precision >= TARGETS["precision"], found
