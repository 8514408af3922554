"""Categories are built: a tree, a head that imitates it, and what was measured."""

from dataclasses import replace

import numpy as np
import pytest

from curation.config import Config
from curation.errors import ConfigError
from stages.categorize import kmeans
from stages.categorize.agreement import calibrated_temperature, measure
from stages.categorize.build import BuildSettings, finish, train_head
from stages.categorize.build_tree import branching_for, cluster, prune
from stages.categorize.categorizer import Leaf
from stages.categorize.head_training import chosen_device
from stages.categorize.tree import descend, grow, leaf_paths
from tests.stages.categorize.hierarchies import hierarchy, sample_of


def silent(line):
    """Take a line of progress and forget it."""


def built(sample, **settings):
    """Return the tree, the head and what was measured."""
    chosen = BuildSettings(**{"branching": (6, 5), "names": "none", **settings})
    tree, labels = cluster(
        sample, chosen.branching, min_leaf_rows=5, iterations=30, seed=chosen.seed, say=silent
    )
    trained = train_head(sample, tree, labels, chosen, "cpu", silent)
    leaves = tuple(Leaf(path, path) for path in leaf_paths(tree))
    return tree, trained, *finish(trained, sample, tree, labels, leaves)


@pytest.fixture(scope="module")
def sample():
    return sample_of(hierarchy(6000)[0])


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_a_head_learns_the_clustering(sample, kind):
    """On rows that it never saw it finds nearly every leaf, and its scores mean what they say."""
    tree, trained, head, agreement = built(sample, head=kind, max_epochs=3)

    assert len(head.layers) == {"linear": 1, "mlp": 2}[kind]
    assert len(head.leaves) == len(leaf_paths(tree))
    assert agreement["top1"] > 0.95
    assert agreement["top5"] > 0.99
    assert agreement["by_level"][0] >= agreement["by_level"][1] == agreement["top1"]
    assert agreement["calibration_error"] < 0.05
    assert agreement["rows"] == len(sample.test)
    assert max(trained.agreements) >= trained.agreements[0]


def test_categories_are_the_clusters_that_were_put_in(sample):
    """Leaves of the head part the known subclusters: rows of one leaf are of one kind."""
    vectors, truth = hierarchy(6000)
    _, _, head, _ = built(sample, max_epochs=0)

    leaves = head.assign(kmeans.quantize(vectors)).leaves

    pure = sum(np.bincount(truth[leaves == leaf]).max() for leaf in np.unique(leaves))
    assert pure / len(truth) > 0.8


def test_the_tree_in_one_layer_beats_the_nearest_leaf():
    """Where clusters overlap, a leaf's parents must weigh in, or upper borders are missed."""
    agreement = built(sample_of(hierarchy(6000, spread=1.5)[0]), max_epochs=0)[3]

    assert agreement["top1"] > agreement["nearest_center_top1"] + 0.02


def test_three_levels_fit_into_16_bits():
    """Each level above weighs more, yet leaves of one parent are still told apart."""
    agreement = built(sample_of(hierarchy(6000)[0]), branching=(4, 3, 3), max_epochs=0)[3]

    assert len(agreement["by_level"]) == 3
    assert agreement["top1"] > 0.93


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_building_twice_gives_the_same_bytes(sample, kind):
    """Every draw comes from the seed, and another seed is another head."""
    one, two, other = (
        built(sample, head=kind, max_epochs=2, seed=seed)[2].to_files() for seed in (3, 3, 4)
    )

    assert one == two
    assert one != other


@pytest.mark.parametrize("spread", [0.6, 1.5])
def test_the_temperature_makes_scores_mean_what_they_say(spread):
    """The mean score is the share of right rows, whether all or only most are right."""
    sample = sample_of(hierarchy(6000, spread=spread)[0])
    tree, _, head, _ = built(sample, max_epochs=0)
    labels, _ = descend(sample.vectors, tree)
    validation = sample.validation

    temperature = calibrated_temperature(head, sample.vectors[validation], labels[validation])

    found = replace(head, temperature=temperature).assign(sample.vectors[validation])
    right = int((found.leaves == labels[validation]).sum())
    assert float(found.scores.mean()) == pytest.approx(right / (len(validation) + 1), abs=5e-4)


def test_agreement_is_what_it_is_called(sample):
    """A head that gives every row one leaf agrees on that leaf's rows only."""
    tree, _, head, _ = built(sample, max_epochs=0)
    labels, _ = descend(sample.vectors, tree)
    sizes = np.bincount(labels, minlength=len(head.leaves)).tolist()
    biggest = int(np.argmax(sizes))
    layer = head.layers[0]
    bias = layer.bias.copy()
    bias[biggest] = 1 << 50
    stubborn = replace(head, layers=(replace(layer, bias=bias),))

    found = measure(stubborn, sample.vectors, labels, sizes)

    share = round(max(sizes) / len(labels), 4)
    assert (found["top1"], found["biggest_leaf"]) == (share, share)
    assert found["tail"] == 0
    assert found["head"] > share


def test_small_leaves_go_to_their_siblings():
    """A leaf with too few rows is gone; no parent loses its last."""
    vectors = kmeans.quantize(hierarchy(900)[0])
    tree = grow(vectors, (4, 8), 10, seed=0)

    pruned = prune(tree, 25)

    small = [p for p, size in zip(tree.paths, tree.sizes, strict=True) if "/" in p and size < 25]
    assert small
    kept = set(leaf_paths(pruned))
    assert set(leaf_paths(tree)) - set(small) <= kept
    parents = {path.split("/")[0] for path in tree.paths}
    assert {path.split("/")[0] for path in kept} == parents
    assert all(path.endswith("c000") for path in kept & set(small))
    labels, _ = descend(vectors, pruned)
    assert set(labels.tolist()) <= set(range(len(kept)))


@pytest.mark.parametrize(
    ("leaves", "expected"),
    [(1, (1,)), (40, (40,)), (100, (100,)), (1000, (32, 32)), (10_000, (100, 100))],
)
def test_levels_for_a_number_of_leaves(leaves, expected):
    """As few levels as hold at most 100 children a node."""
    assert branching_for(leaves) == expected


@pytest.mark.parametrize("leaves", [101, 997, 4096, 10_001, 65_536])
def test_there_are_at_least_as_many_leaves_as_asked_for(leaves):
    """And little more."""
    branching = branching_for(leaves)

    assert max(branching) <= 100
    assert leaves <= np.prod(branching) <= 1.1 * leaves


def test_a_device_that_is_not_there_is_refused():
    """`auto` takes what is there."""
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        assert chosen_device("auto") == "cuda"
    else:
        assert chosen_device("auto") == "cpu"
        with pytest.raises(ConfigError, match="no CUDA device"):
            chosen_device("cuda")


def test_settings_refuse_nonsense():
    """A typing error is no default."""
    assert issubclass(BuildSettings, Config)
    with pytest.raises(ValueError, match="sample_rows"):
        BuildSettings(sample_rows=0)
