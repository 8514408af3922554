"""Weights that a user names: where they lie, what they are, and how they come to this machine.

A reference is a path, any fsspec URL, or `hf://<owner>/<name>@<commit>`: a model of the Hugging
Face hub at a pinned commit. It names a file or a folder. What the weights *are* is the digest of
their content, whatever place they came from, so it enters the fingerprint and the place does not.
"""

from curation.weights.digest import digest_of
from curation.weights.local import cache_folder, local_weights, made_once, weights_digest
from curation.weights.reference import Reference, WeightsReference

__all__ = [
    "Reference",
    "WeightsReference",
    "cache_folder",
    "digest_of",
    "local_weights",
    "made_once",
    "weights_digest",
]
