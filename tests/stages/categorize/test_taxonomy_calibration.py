"""The temperature and threshold of a taxonomy, from labelled vectors."""

import numpy as np
import pytest

from curation.errors import UsageError
from stages.categorize import kmeans
from stages.categorize.taxonomy_calibration import calibrate
from tests.stages.categorize.test_beam import random_tree

SCALE = 40.0


def drawn(rows, temperature, seed=0):
    """Return vectors with labels drawn from the tree's probabilities at `temperature`."""
    tree, parents = random_tree((5, 4, 3), seed=2)
    paths: list[str] = []
    for number, parent in enumerate(parents):
        paths.append(f"{paths[parent]}/n{number}" if parent >= 0 else f"n{number}")
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(rows, tree.vectors.shape[1]))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    cosines = vectors.astype(float) @ tree.vectors.T / kmeans.UNIT
    labels = []
    for row in range(rows):
        node = -1
        while tree.first[node + 1] >= 0:
            below = tree.children(node)
            logits = SCALE / temperature * cosines[row, below]
            shares = np.exp(logits - logits.max())
            node = below.start + int(generator.choice(len(shares), p=shares / shares.sum()))
        labels.append(paths[node])
    return vectors, labels, list(zip(paths, parents, strict=True)), tree.vectors


def calibrated(vectors, labels, nodes, centers, **options):
    given = {"logit_scale": SCALE, "temperature": 1.0, "beam": 100, "precision": 0.6, **options}
    return calibrate(vectors, labels, nodes, centers, **given)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 5.0])
def test_the_temperature_that_made_the_labels_is_found(temperature):
    """Labels drawn at a temperature give it back; its loss is the least, before and after."""
    found = calibrated(*drawn(1500, temperature))

    assert found.temperature == pytest.approx(temperature, rel=0.12)
    assert found.loss_after <= found.loss_before + 1e-9
    if temperature != 1.0:
        assert found.loss_after < found.loss_before - 0.01


def test_the_threshold_keeps_the_precision():
    """What scores above it is right as often as asked; `other` rows count as wrong."""
    vectors, labels, nodes, centers = drawn(1500, 3.0)

    found = calibrated(vectors, labels, nodes, centers, precision=0.5)
    spoilt = calibrated(vectors, ["other"] * 500 + labels[500:], nodes, centers, precision=0.5)

    assert found.cut is not None
    assert spoilt.cut is not None
    assert found.cut.precision >= 0.5
    assert found.accuracy < 0.5
    assert 0 < found.cut.kept_share < 1
    assert spoilt.cut.threshold > found.cut.threshold
    assert (spoilt.num_other, spoilt.num_rows) == (500, 1500)


def test_labels_of_inner_nodes_are_half_an_answer():
    """A label that is no leaf says nothing of the choice below it, and a leaf below it is right."""
    vectors, labels, nodes, centers = drawn(600, 0.2)

    exact = calibrated(vectors, labels, nodes, centers)
    coarse = calibrated(vectors, [label.split("/")[0] for label in labels], nodes, centers)

    assert coarse.accuracy > exact.accuracy
    assert coarse.loss_after < exact.loss_after


def test_wrong_labels_are_refused():
    """A category that the taxonomy has not, and nothing but `other`, are said in a sentence."""
    vectors, labels, nodes, centers = drawn(4, 1.0)

    with pytest.raises(UsageError, match="'cats' is no category of this taxonomy"):
        calibrated(vectors, ["cats", *labels[1:]], nodes, centers)
    with pytest.raises(UsageError, match="every label is `other`"):
        calibrated(vectors, ["other"] * 4, nodes, centers)
