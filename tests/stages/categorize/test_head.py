"""A head's arithmetic is exact, its files are whole or refused."""

import json
from dataclasses import replace

import numpy as np
import pytest

from curation.errors import ConfigError
from stages.categorize import kmeans
from stages.categorize.categorizer import Leaf
from stages.categorize.head import DESCRIPTION, FORMAT, LARGEST, TENSORS, Head, Layer
from tests.stages.categorize.test_kmeans import unit_vectors


def random_head(num_leaves=7, dimension=24, hidden=0, seed=0):
    rng = np.random.default_rng(seed)
    widths = [dimension, *([hidden] if hidden else []), num_leaves]
    units = [1 / kmeans.UNIT, 64 / LARGEST]
    layers = tuple(
        Layer.rounded(rng.normal(size=(after, before)) * 9, rng.normal(size=after), unit)
        for before, after, unit in zip(widths, widths[1:], units, strict=False)
    )
    return Head(
        tuple(Leaf(f"c{n:03d}", f"name {n}") for n in range(num_leaves)),
        layers,
        units[1],
        1.5,
        kmeans.quantize(unit_vectors(num_leaves, dimension, seed=seed)),
        {"vectors": {"meaning": "abc"}},
    )


def write(head, folder):
    folder.mkdir(exist_ok=True)
    for name, data in head.to_files().items():
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize("hidden", [0, 11])
def test_products_are_exact_integers(hidden):
    """Float64 gives what Python's own integers give, through one layer and through two."""
    head = random_head(hidden=hidden)
    vectors = kmeans.quantize(unit_vectors(9, 24, seed=3))

    rows = [[int(number) for number in row] for row in vectors]
    for number, layer in enumerate(head.layers):
        if number:
            factor = head.layers[0].unit / head.hidden_unit
            rows = [[min(round(max(v, 0) * factor), LARGEST) for v in row] for row in rows]
        rows = [
            [
                sum(w * v for w, v in zip(weights, row, strict=True)) + bias
                for weights, bias in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)
            ]
            for row in rows
        ]

    assert head.logits(vectors).tolist() == rows


@pytest.mark.parametrize("hidden", [0, 11])
def test_scores_are_the_softmax_of_the_layers_in_floats(hidden):
    """Rounding to 16 bits moves probabilities a little; margin is the gap to the second."""
    head = random_head(hidden=hidden)
    vectors = kmeans.quantize(unit_vectors(50, 24, seed=3))

    found = head.assign(vectors)

    outputs = vectors / kmeans.UNIT
    unit = 1 / kmeans.UNIT
    for number, layer in enumerate(head.layers):
        if number:
            outputs = np.maximum(outputs, 0)
            unit = head.hidden_unit
        outputs = outputs @ (layer.weight * (layer.unit / unit)).T + layer.bias * layer.unit
    shares = np.exp(outputs / head.temperature)
    shares /= shares.sum(axis=1, keepdims=True)
    ranked = np.sort(shares, axis=1)
    assert found.leaves.tolist() == shares.argmax(axis=1).tolist()
    assert np.allclose(found.scores, ranked[:, -1], atol=2e-3)
    assert np.allclose(found.margins, ranked[:, -1] - ranked[:, -2], atol=2e-3)
    cosines = (vectors @ head.centers.T.astype(float))[np.arange(50), found.leaves]
    assert np.allclose(found.distances, 1 - cosines / kmeans.UNIT**2, atol=1e-3)


def test_what_is_larger_than_ever_seen_is_cut_off():
    """Between two layers nothing passes 16 bits, so sums stay exact."""
    head = replace(random_head(hidden=5), hidden_unit=1 / LARGEST)
    vectors = kmeans.quantize(unit_vectors(9, 24, seed=3))

    reached = np.abs(head.logits(vectors) - head.layers[1].bias).max()

    assert reached <= 5 * LARGEST * LARGEST
    assert (vectors @ head.layers[0].weight.T.astype(float)).max() * head.layers[0].unit > 1


def test_a_row_decides_for_itself():
    """Order, neighbours and blocks change no bit of leaf, score, margin and distance."""
    head = random_head(num_leaves=301, hidden=40)
    vectors = kmeans.quantize(unit_vectors(700, 24, seed=5))
    order = np.random.default_rng(0).permutation(700)

    whole, shuffled, single = (head.assign(v) for v in (vectors, vectors[order], vectors[13:14]))

    for name in ("leaves", "scores", "margins", "distances"):
        assert (getattr(whole, name)[order] == getattr(shuffled, name)).all(), name
        assert getattr(whole, name)[13] == getattr(single, name)[0], name


def test_the_first_of_equal_leaves_is_taken():
    """Two leaves with the same weights share the probability, and the margin is 0."""
    head = random_head(num_leaves=1)
    layer = head.layers[0]
    twice = replace(
        head,
        leaves=head.leaves * 2,
        layers=(Layer(np.tile(layer.weight, (2, 1)), np.tile(layer.bias, 2), layer.unit),),
        centers=np.tile(head.centers, (2, 1)),
    )
    vectors = kmeans.quantize(unit_vectors(4, 24))

    alone, both = head.assign(vectors), twice.assign(vectors)

    assert (alone.scores.tolist(), alone.margins.tolist()) == ([1] * 4, [1] * 4)
    assert both.leaves.tolist() == [0] * 4
    assert (both.scores.tolist(), both.margins.tolist()) == ([0.5] * 4, [0] * 4)


def test_no_rows_are_no_trouble():
    """A shard may hold no vector."""
    found = random_head().assign(np.zeros((0, 24), np.int16))

    assert [len(part) for part in (found.leaves, found.scores, found.margins)] == [0, 0, 0]


@pytest.mark.parametrize("hidden", [0, 11])
def test_a_head_comes_back_from_its_files(tmp_path, hidden):
    """The same numbers, leaves and facts; the same head writes the same bytes."""
    head = random_head(hidden=hidden)

    found = Head.read(write(head, tmp_path / "head"))

    vectors = kmeans.quantize(unit_vectors(20, 24))
    assert (found.logits(vectors) == head.logits(vectors)).all()
    assert (found.leaves, found.temperature) == (head.leaves, 1.5)
    assert found.facts["vectors"] == {"meaning": "abc"}
    assert found.to_files() == head.to_files()


def change(folder, **values):
    path = folder / DESCRIPTION
    description = json.loads(path.read_bytes())
    path.write_text(json.dumps({**description, **values}))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / DESCRIPTION).unlink(), "no head here"),
        (lambda folder: (folder / TENSORS).unlink(), "no head here"),
        (lambda folder: (folder / DESCRIPTION).write_text("{"), "not JSON"),
        (lambda folder: change(folder, format=FORMAT + 1), "update Longtail"),
        (lambda folder: change(folder, input_unit=1), "update Longtail"),
        (lambda folder: change(folder, dimension=23), "do not fit each other"),
        (lambda folder: change(folder, temperature=0), "do not fit each other"),
        (lambda folder: change(folder, leaves=[]), "do not fit each other"),
        (
            lambda folder: change(folder, leaves=[{"path": "c000", "name": "dogs"}] * 7),
            "do not fit",
        ),
        (lambda folder: change(folder, leaves=[{"path": n, "name": "a"} for n in range(7)]), "fit"),
        (lambda folder: change(folder, layer_units=[1.0, 1.0]), "no whole head"),
        (lambda folder: (folder / DESCRIPTION).write_text("[]"), "no JSON object"),
        (
            lambda folder: (folder / TENSORS).write_bytes(random_head(seed=1).to_files()[TENSORS]),
            "is not the one that head.json describes",
        ),
    ],
)
def test_what_is_no_whole_head_is_refused(tmp_path, spoil, said):
    """Missing, newer, torn or mixed files end in a sentence, not in wrong categories."""
    folder = write(random_head(), tmp_path / "head")
    spoil(folder)

    with pytest.raises(ConfigError, match=said):
        Head.read(folder)


def test_a_file_of_a_head_is_no_head(tmp_path):
    """The folder is named, since numbers and names belong together."""
    folder = write(random_head(), tmp_path / "head")

    with pytest.raises(ConfigError, match="no head here; name the folder"):
        Head.read(folder / TENSORS)
