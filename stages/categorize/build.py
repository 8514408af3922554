"""Building categories: a tree of clusters, names for its leaves, and a head that assigns them.

The report that Longtail follows trains a classification model that puts every image into one of
10,000 fine-grained categories, and does not say where the categories come from. Here they come from
clustering a sample, as in `categorize: clusters`, and the head is trained to tell a vector's leaf.

Why a head, when the tree is at hand? Not for the truth: the clustering *is* the truth
here, and agreement with it says how well the head imitates it, nothing about whether categories
mean something to people. What a head brings:

- it looks at all leaves at once and knows how sure it is: a calibrated probability, and a margin
  that is small between two leaves. Descending a tree gives neither;
- it is one folder, told apart by its digest, that can be carried to other datasets, and distilled:
  a smaller model may be trained to give the same answers from a picture;
- labels from elsewhere (people, a taxonomy, merged leaves) can take the place of the clustering
  with the same file format and the same stage.

Who needs only a partition of one dataset is served as well by `clusters`, which costs less.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from curation.config import Config
from curation.dataset import Dataset
from curation.errors import UsageError
from curation.pipeline.instances import Instance
from curation.storage import Store
from stages.categorize import kmeans
from stages.categorize.agreement import calibrated_temperature, measure
from stages.categorize.build_report import to_markdown
from stages.categorize.build_sample import Sample, read_sample
from stages.categorize.build_tree import centers_by_level, cluster
from stages.categorize.categorizer import Leaf, NameSource
from stages.categorize.classifier import facts_of_vectors
from stages.categorize.clusters import MAX_LEAVES
from stages.categorize.head import LARGEST, Head, Layer
from stages.categorize.head_training import HeadKind, Trained, torch_or_refuse, train
from stages.categorize.leaf_names import NamingModel, name_leaves
from stages.categorize.leaf_sheets import make_sheets, nearest_rows
from stages.categorize.names import full_name, name_nodes
from stages.categorize.tree import Tree, leaf_paths

REPORT = "report.md"
_ROWS_PER_LEAF = 10
"""Training rows that a leaf must have on average; fewer make no head worth its name."""

_MEASURED_ROWS = 65_536
_HEADROOM = 2.0
"""Numbers between two layers may be this much larger than any seen in training."""

Say = Callable[[str], None]


class BuildSettings(Config):
    """What to build.

    Attributes:
        branching: Clusters wanted below each node, level by level from the root.
        sample_rows: Rows looked at, at most.
        min_leaf_rows: Leaves with fewer training rows are given to their siblings.
        iterations: Limit to the rounds of each k-means.
        head: One layer, or two.
        max_epochs: Epochs of training, at most.
        seed: Draws sample, split, first centres and batches.
        names: Whether leaves are named by their images' words.
        names_from: Where the words come from.
    """

    branching: tuple[int, ...] = (100, 100)
    sample_rows: int = Field(default=1_000_000, ge=1, le=10_000_000)
    min_leaf_rows: int = Field(default=5, ge=1)
    iterations: int = Field(default=30, ge=1, le=1000)
    head: HeadKind = "linear"
    max_epochs: int = Field(default=20, ge=0, le=1000)
    seed: int = 0
    names: Literal["words", "none"] = "words"
    names_from: tuple[NameSource, ...] = ("source_key", "alt_text")


def build(
    dataset: Dataset,
    instances: Mapping[str, Instance],
    chosen: Instance,
    settings: BuildSettings,
    *,
    out: Store,
    device: str = "cpu",
    naming: NamingModel | None = None,
    say: Say = lambda line: None,
) -> Head:
    """Build categories from a sample of a dataset and write the head's folder.

    Memory holds the sample about four times: 6 GB for 1,000,000 vectors of 768 numbers. `head.json`
    comes last, so a folder that has it is whole.

    Args:
        dataset: The dataset.
        instances: Name -> instance, of the pipeline that `chosen` is in.
        chosen: The instance whose vectors are used.
        settings: What to build.
        out: Where the files go; must be empty.
        device: Where the head is trained, in torch's words.
        naming: A model that names the leaves by their pictures, over the words.
        say: Takes lines of progress.

    Raises:
        UsageError: Too few rows for the leaves, too many leaves, or `out` has files.
        ConfigError: torch is not installed, or the naming model cannot be used.
        EndpointError: The naming model's server is at fault.
    """
    torch = torch_or_refuse()
    wanted = math.prod(settings.branching)
    if wanted > MAX_LEAVES:
        message = f"{wanted:,} leaves, expected at most {MAX_LEAVES:,}"
        raise UsageError(message)
    if files := out.names(""):
        message = f"{out.url}: holds {files[0]!r}; name an empty or a new folder"
        raise UsageError(message)
    assert chosen.meaning is not None, "`choose_instance` gives one that is ready"
    names_from = settings.names_from if settings.names == "words" else ()
    say(f"reading up to {settings.sample_rows:,} vectors of {chosen.name}")
    sample = read_sample(
        dataset,
        instances,
        chosen,
        size=settings.sample_rows,
        seed=settings.seed,
        names_from=names_from,
    )
    _refuse_few(sample, wanted)
    tree, labels = cluster(
        sample,
        settings.branching,
        min_leaf_rows=settings.min_leaf_rows,
        iterations=settings.iterations,
        seed=settings.seed,
        say=say,
    )
    leaves = _leaves(tree, sample, labels, named=bool(names_from))
    named: dict[str, Any] = {"by": settings.names}
    if naming is not None:
        rows = nearest_rows(sample.vectors, labels, centers_by_level(tree)[0])
        places = [[(int(s), int(r)) for s, r in sample.places[mine]] for mine in rows]
        sheets = make_sheets(dataset, places, naming.protocols)
        found = name_leaves(leaves, sheets, naming, say)
        leaves = found.leaves
        say(f"{naming.model} named {found.num_named:,} of {len(leaves):,} leaves")
        named |= {"model": naming.model, "named": found.num_named, "not_named": found.reasons}
    trained = train_head(sample, tree, labels, settings, device, say)
    say("measuring")
    head, agreement = finish(trained, sample, tree, labels, leaves)
    sizes = _sizes(tree, sample, labels)
    vectors = facts_of_vectors(chosen.make(), chosen.meaning.column("vector"))
    facts = {
        "head": settings.head,
        "levels": tree.levels,
        "num_leaves": len(leaves),
        "vectors": {"instance": chosen.name, **vectors},
        "agreement": agreement,
        "training": {
            "epochs": trained.epochs,
            "validation_loss": [round(loss, 4) for loss in trained.losses],
            "validation_agreement": [round(share, 4) for share in trained.agreements],
            "device": device,
            "torch": torch.__version__,
        },
        "sample": {
            "rows": len(sample.vectors),
            "training_rows": len(sample.training),
            "validation_rows": len(sample.validation),
            "test_rows": len(sample.test),
            "smallest_leaf": min(sizes),
            "median_leaf": int(np.median(sizes)),
            "largest_leaf": max(sizes),
        },
        "names": named,
        "settings": settings.model_dump(mode="json"),
        "leaf_rows": sizes,
    }
    head = replace(head, facts=facts)
    out.put(REPORT, to_markdown(head).encode())
    for name, data in head.to_files().items():  # the description last
        out.put(name, data)
    return head


def train_head(
    sample: Sample,
    tree: Tree,
    labels: NDArray[np.int32],
    settings: BuildSettings,
    device: str,
    say: Say,
) -> Trained:
    """Train the head on the training rows, judged by the validation rows."""
    training, validation = sample.training, sample.validation
    say(f"training a {settings.head} head on {device}")
    return train(
        settings.head,
        (sample.vectors[training], sample.vectors[validation]),
        (labels[training], labels[validation]),
        centers_by_level(tree),
        max_epochs=settings.max_epochs,
        seed=settings.seed,
        device=device,
        say=say,
    )


def finish(
    trained: Trained,
    sample: Sample,
    tree: Tree,
    labels: NDArray[np.int32],
    leaves: tuple[Leaf, ...],
) -> tuple[Head, dict[str, Any]]:
    """Round a trained head to integers, calibrate it, and measure it as it will be applied."""
    layers = [Layer.rounded(trained.weights[0], trained.biases[0], 1 / kmeans.UNIT)]
    hidden_unit = 1.0
    if len(trained.weights) > 1:
        hidden_unit = max(trained.largest_hidden, 1e-6) * _HEADROOM / LARGEST
        layers.append(Layer.rounded(trained.weights[1], trained.biases[1], hidden_unit))
    head = Head(leaves, tuple(layers), hidden_unit, 1.0, centers_by_level(tree)[0], {})
    validation, test = sample.validation, sample.test[:_MEASURED_ROWS]
    temperature = calibrated_temperature(head, sample.vectors[validation], labels[validation])
    head = replace(head, temperature=temperature)
    sizes = _sizes(tree, sample, labels)
    return head, measure(head, sample.vectors[test], labels[test], sizes)


def _refuse_few(sample: Sample, leaves: int) -> None:
    rows = len(sample.training)
    most = rows // _ROWS_PER_LEAF
    if most < leaves or not len(sample.validation) or not len(sample.test):
        message = (
            f"{len(sample.vectors):,} rows with a vector, {rows:,} of them for training, are too "
            f"few for {leaves:,} leaves: a leaf needs {_ROWS_PER_LEAF}, and a fifth of the rows is "
            f"set aside; ask for at most {max(1, most):,} leaves, or for more rows"
        )
        raise UsageError(message)


def _sizes(tree: Tree, sample: Sample, labels: NDArray[np.int32]) -> list[int]:
    count = len(leaf_paths(tree))
    return [int(size) for size in np.bincount(labels[sample.training], minlength=count)]


def _leaves(
    tree: Tree, sample: Sample, labels: NDArray[np.int32], *, named: bool
) -> tuple[Leaf, ...]:
    paths = leaf_paths(tree)
    if not named:
        return tuple(Leaf(path, path) for path in paths)
    rows = sample.training
    words = [sample.words[row] for row in rows]
    names = name_nodes(tree.paths, [paths[label] for label in labels[rows]], words)
    return tuple(Leaf(path, full_name(path, names)) for path in paths)
