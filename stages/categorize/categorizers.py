"""The categorizers that `categorize` can use, by name."""

from stages.categorize.categorizer import Categorizer
from stages.categorize.classifier import ClassifierCategorizer
from stages.categorize.clusters import ClustersCategorizer

CATEGORIZERS: dict[str, type[Categorizer]] = {
    "classifier": ClassifierCategorizer,
    "clusters": ClustersCategorizer,
}
"""Name in YAML -> class."""
