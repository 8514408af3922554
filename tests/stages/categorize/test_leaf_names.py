"""Leaves are named by a model that is shown their pictures, over real HTTP."""

import io

import numpy as np
import pytest
from PIL import Image

from curation.endpoint import EndpointConfig
from curation.errors import ConfigError, EndpointError
from curation.pixels.encode import encode_jpeg
from stages.categorize import kmeans
from stages.categorize.categorizer import Leaf
from stages.categorize.leaf_names import NamingModel, clean_name, name_leaves
from stages.categorize.leaf_sheets import PICTURE_PX, SIDE, _sheet, nearest_rows
from tests.fakes.openai_server import serve
from tests.stages.categorize.test_kmeans import blobs

LEAVES = [Leaf(f"c000/c{n:03d}", f"animals/{name}") for n, name in enumerate(("dogs", "c001"))]


def endpoint(url):
    return EndpointConfig(url=url, backoff_s=0, tries=2)


def sheet(level):
    return encode_jpeg(np.full((384, 384, 3), level, np.uint8))


def names(decide=lambda asked: "ok", leaves=LEAVES, sheets=None, said=None, **options):
    """Return what became of the leaves, and what the server was asked."""
    shown = [sheet(16 * n) for n in range(len(leaves))] if sheets is None else sheets
    with serve(decide, **options) as fake:
        naming = NamingModel(endpoint(fake.url), "fake-vl", ("file",))
        say = (lambda line: None) if said is None else said.append
        return name_leaves(leaves, shown, naming, say), fake


def test_the_last_part_of_a_name_is_the_models():
    """Leaves that it calls alike are told apart by their paths; the names above stay."""
    found, fake = names()

    assert [leaf.path for leaf in found.leaves] == [leaf.path for leaf in LEAVES]
    assert [leaf.name for leaf in found.leaves] == ["animals/words name", "animals/words name c001"]
    assert (found.num_named, found.reasons) == (2, {})
    assert all(len(asked.images) == 1 for asked in fake.asked[-2:])


def test_the_model_is_told_the_words_and_shown_the_pictures():
    """The words of the names so far, without paths; each leaf's own sheet."""
    _, fake = names()

    asked = {asked.images[0]: asked for asked in fake.asked[2:] if asked.images}
    assert len(asked) == 2
    assert asked[sheet(0)].text.endswith("which may be wrong: animals, dogs")
    assert asked[sheet(16)].text.endswith("which may be wrong: animals")


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("refusal", "refused"),
        ("prose", "no name in the answer"),
        ("other_schema", "no name in the answer"),
        ("empty_content", "no name in the answer"),
        ("length_early", "no name in the answer"),
    ],
)
def test_a_leaf_without_an_answer_keeps_its_name(what, reason):
    """And is counted; the other one is named."""
    black = sheet(0)
    found, _ = names(lambda asked: what if black in asked.images else "ok")

    assert [leaf.name for leaf in found.leaves] == ["animals/dogs", "animals/words name"]
    assert (found.num_named, found.reasons) == (1, {reason: 1})


def test_a_leaf_without_a_picture_is_not_asked_about():
    """Nothing is named by a model that saw nothing of it."""
    found, fake = names(sheets=[None, sheet(16)])

    assert [leaf.name for leaf in found.leaves] == ["animals/dogs", "animals/words name"]
    assert found.reasons == {"no picture": 1}
    assert len(fake.asked) == 3


def test_a_model_that_sees_no_pictures_is_refused():
    """A picture that costs no tokens was not looked at."""
    with pytest.raises(ConfigError, match="fake-vl: a picture adds 0 tokens .* sees none"):
        names(sees_images=False)


def test_a_server_that_counts_nothing_is_spoken_of():
    """Then nobody can tell, and that is said."""
    said: list[str] = []
    names(counts_tokens=False, said=said)

    assert any("counts no tokens" in line for line in said)


def test_a_server_that_is_down_ends_the_build():
    """It is no leaf's fault, and words do not stand in for a model in silence."""
    naming = NamingModel(endpoint("http://127.0.0.1:9/v1"), "fake-vl", ())

    with pytest.raises(EndpointError):
        name_leaves(LEAVES, [None, None], naming, lambda line: None)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Red Kites", "red kites"),
        ("<b>cats</b>!", "b cats b"),
        ("../../etc", "etc"),
        ("a very long name that says much", ""),
        ("x" * 30, ""),
        ("12", ""),
        ("Hunde\x1b[31m", "hunde m"),
        ("ＣＡＦÉ", "café"),
    ],
)
def test_names_are_letters_only(text, name):
    """Nothing that a model says can be markup, a path or a control sequence."""
    assert clean_name(text) == name


def test_sheets_show_the_nearest_rows():
    """For each leaf the rows with the smallest distance to its centre, nearest first."""
    vectors, labels = blobs((40, 3))
    quantized = kmeans.quantize(vectors)
    centers = kmeans.fit(quantized, 2, 10, seed=0).centers
    found, _ = kmeans.nearest_centers(quantized, centers)

    big, small = nearest_rows(quantized, found, centers)

    products = quantized.astype(float) @ centers[0]
    expected = sorted(np.flatnonzero(found == 0), key=lambda row: -products[row])[: SIDE * SIDE]
    assert big == expected
    assert sorted(small) == np.flatnonzero(found == 1).tolist()
    assert len(labels) == 43


@pytest.mark.parametrize(("count", "size"), [(1, (1, 1)), (2, (2, 1)), (3, (2, 2)), (4, (2, 2))])
def test_pictures_stand_side_by_side(count, size):
    """Row by row; what is empty is white."""
    pictures = [np.full((PICTURE_PX, PICTURE_PX, 3), 40 * n, np.uint8) for n in range(count)]

    found = _sheet(pictures)

    assert found.shape == (size[1] * PICTURE_PX, size[0] * PICTURE_PX, 3)
    corner = found[-1, -1].tolist()
    assert corner == [255] * 3 if count == 3 else corner == [40 * (count - 1)] * 3
    Image.open(io.BytesIO(encode_jpeg(found))).verify()
