"""Weights that a user names: where they lie, what they are, and how they come to this machine.

A reference is a path, any fsspec URL, or `hf://<owner>/<name>@<commit>`: a model of the Hugging
Face hub at a pinned commit, with `/<path>` behind it for one file or folder. It names a file or a
folder. What the weights *are* is the digest of their content, whatever place they came from, so it
enters the fingerprint and the place does not.
"""

from curation.weights.cache import cache_folder, made_once, memory_folder
from curation.weights.digest import digest_of
from curation.weights.local import Held, fetch, find, local_weights, weights_digest
from curation.weights.memory import Memory
from curation.weights.reference import Reference, WeightsPlace, WeightsReference

__all__ = [
    "Held",
    "Memory",
    "Reference",
    "WeightsPlace",
    "WeightsReference",
    "cache_folder",
    "digest_of",
    "fetch",
    "find",
    "local_weights",
    "made_once",
    "memory_folder",
    "weights_digest",
]
