"""Taxonomies: how files are read, what is refused, and that the shipped one is sane."""

from collections import Counter

import pytest

from curation.errors import ConfigError
from stages.categorize.taxonomy_file import SHIPPED, read_taxonomy

SMALL = """\
format: 1
name: small
templates: ["a photo of {}", "{}"]
children:
  - name: animals
    prompts: [an animal]
    children:
      - a cat
      - {name: Crane (bird), id: crane, prompts: [a crane, a grey crane]}
      - name: dogs
        templates: ["a photo of a {}, a dog"]
        children: [poodle, "Saint Bernard's dog"]
  - the Eiffel Tower
"""


def read(tmp_path, text):
    path = tmp_path / "tree.yaml"
    path.write_text(text, encoding="utf-8")
    return read_taxonomy(path)


def test_nodes_stand_level_by_level_with_their_texts(tmp_path):
    """Ids and names lose the article, texts keep it; templates are inherited until replaced."""
    nodes = read(tmp_path, SMALL).nodes

    assert [(n.path, n.parent, n.is_leaf) for n in nodes] == [
        ("animals", -1, False),
        ("eiffel_tower", -1, True),
        ("animals/cat", 0, True),
        ("animals/crane", 0, True),
        ("animals/dogs", 0, False),
        ("animals/dogs/poodle", 4, True),
        ("animals/dogs/saint_bernards_dog", 4, True),
    ]
    assert [n.name for n in nodes[1:4]] == ["Eiffel Tower", "animals/cat", "animals/Crane (bird)"]
    assert [n.texts for n in nodes] == [
        ("a photo of an animal", "an animal"),
        ("a photo of the Eiffel Tower", "the Eiffel Tower"),
        ("a photo of a cat", "a cat"),
        ("a photo of a crane", "a crane", "a photo of a grey crane", "a grey crane"),
        (),
        ("a photo of a poodle, a dog",),
        ("a photo of a Saint Bernard's dog, a dog",),
    ]


@pytest.mark.parametrize(
    ("children", "words"),
    [
        ("[cat, dog, a cat]", "'cat' and 'a cat' at the top both have the id cat"),
        ("[cat, {name: pets, children: [dog, Dog]}]", "below pets both have the id dog"),
        ("[cat, {name: pets, children: []}]", "leave the key out for a leaf"),
        ("[cat, {name: dog, child: [poodle]}]", "child: unknown key (did you mean children?)"),
        ("[cat, no]", "not False; quote it"),
        ("[cat, {name: dog, id: 'Dog 1'}]", "lower-case letters, digits and '_' only"),
        ("[cat, {name: dog, templates: ['a dog']}]", "should match pattern"),
        ("[cat, other]", "for what fits no category"),
        ("[cat, cats/dogs]", "a name has no '/'"),
        ("[cat, 猫]", "gives no id; state one with `id:`"),
        ("[cat]", "at least 2 items"),
        ("[cat, {name: big, children: [{name: b, prompts: [cat]}]}]", "described by 'a photo"),
        ("[a, " + "{name: b, children: [" * 8 + "c" + "]}" * 8 + "]", "more than 8 levels"),
    ],
)
def test_wrong_files_are_refused_in_a_sentence(tmp_path, children, words):
    """The message names the file and what is wrong in it."""
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, f"format: 1\nname: wrong\nchildren: {children}\n")

    assert words in str(caught.value)
    assert str(tmp_path / "tree.yaml") in str(caught.value)


def test_a_newer_format_is_refused(tmp_path):
    """A file that says another format is not guessed at."""
    with pytest.raises(ConfigError, match="format"):
        read(tmp_path, SMALL.replace("format: 1", "format: 2"))


def test_the_shipped_taxonomy_is_sane():
    """It has over 1,000 leaves in 3 or 4 levels, families of 2 to 40, and no name twice."""
    nodes = read_taxonomy(SHIPPED).nodes

    leaves = [node for node in nodes if node.is_leaf]
    assert len(leaves) >= 1000
    assert {leaf.path.count("/") + 1 for leaf in leaves} == {3, 4}
    families = Counter(node.parent for node in nodes)
    assert {nodes[n].path for n, size in families.items() if not 2 <= size <= 40} == set()
    own = Counter(leaf.name.rpartition("/")[2].casefold() for leaf in leaves)
    assert [name for name, count in own.items() if count > 1] == []
    assert max(len(leaf.texts) for leaf in leaves) <= 9


def test_the_shipped_taxonomy_repeats_no_text():
    """No text describes two leaves, and none is longer than CLIP reads."""
    leaves = [node for node in read_taxonomy(SHIPPED).nodes if node.is_leaf]

    texts = Counter(text.casefold() for leaf in leaves for text in leaf.texts)
    assert [text for text, count in texts.items() if count > 1] == []
    assert max(len(text.split()) for text in texts) <= 20
    assert [text for text in texts if "a a " in text or "a the " in text] == []


def test_the_shipped_taxonomy_covers_what_is_asked_for():
    """Each kind of picture that text-to-image corpora must balance has a family of its own."""
    tops = {node.path for node in read_taxonomy(SHIPPED).nodes if node.parent == -1}

    assert tops >= {
        *"photography people fashion animals plants food products vehicles landmarks".split(),
        *"places architecture interiors nature art anime_and_manga illustration".split(),
        *"3d_renders graphic_design screens_and_interfaces documents video_games".split(),
        *"diagrams_and_charts textures_and_patterns science_and_medicine events sports".split(),
    }
