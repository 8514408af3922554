"""The categorizers that `categorize` can use, by name."""

from stages.categorize.categorizer import Categorizer
from stages.categorize.classifier import ClassifierCategorizer
from stages.categorize.clusters import ClustersCategorizer
from stages.categorize.taxonomy import TaxonomyCategorizer

CATEGORIZERS: dict[str, type[Categorizer]] = {
    "classifier": ClassifierCategorizer,
    "clusters": ClustersCategorizer,
    "taxonomy": TaxonomyCategorizer,
}
"""Name in YAML -> class."""
