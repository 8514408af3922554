"""Names of categories: telling, unlike their siblings', and harmless whatever the texts say."""

import random

import pytest

from stages.categorize.names import name_nodes, words_of, words_of_key

TREE = ("c000", "c000/c000", "c000/c001", "c001", "c001/c000")


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("animals/Dogs/IMG_0042.JPG", {"animals", "dogs"}),
        ("shards/pets-01.tar!cat_17.tabby.webp", {"shards", "pets", "cat", "tabby"}),
        ("a%2Fb%E4/snow%20leopard.png", {"snow", "leopard"}),
        ("dogs2/4f3a9c/2024-05-01/x.jpg", {"dogs"}),
        ("Übung/straße/写真集/x.jpeg", {"übung", "strasse", "写真集"}),
    ],
)
def test_words_of_a_key(key, words):
    """Folders and stems give words; digits, extensions and escapes do not."""
    assert words_of_key(key) == words


def test_hostile_texts_give_letters_only():
    """Markup, control characters, numbers and endless words come to nothing."""
    text = "<script>alert('x')</script> \x1b[31mred\x07 ../../etc/passwd " + "a" * 500 + " 12345"

    words = words_of(text)

    assert words == {"script", "alert", "etc", "passwd"}
    assert all(word.isalpha() and len(word) <= 24 for word in words)


def leaves_and_words(*groups):
    """Return leaves and words of images from (leaf, words, images)."""
    leaves, words = [], []
    for leaf, text, count in groups:
        leaves += [leaf] * count
        words += [set(text.split())] * count
    return leaves, words


def test_names_say_what_tells_siblings_apart():
    """A word that all have names nobody; below a node its own words are not repeated."""
    leaves, words = leaves_and_words(
        ("c000/c000", "corpus animal dog snow", 30),
        ("c000/c001", "corpus animal dog beach", 20),
        ("c001/c000", "corpus chart bar", 25),
    )

    names = name_nodes(TREE, leaves, words)

    assert names["c000"].split() == ["animal", "dog"]
    assert names["c000/c000"] == "snow"
    assert names["c000/c001"] == "beach"
    assert names["c001"].split() == ["bar", "chart"]
    assert not any("corpus" in name for path, name in names.items() if path != "c001/c000")


def test_siblings_are_never_called_alike():
    """Where the best words are the same, further ones are taken, and at last the path's part."""
    paths = [f"c00{number}" for number in range(5)]
    groups = [(path, "cat tail", 10) for path in paths] + [("c005", "dog", 10)]
    leaves, words = leaves_and_words(*groups)

    names = name_nodes([*paths, "c005"], leaves, words)

    assert len(set(names.values())) == 6
    assert names["c005"] == "dog"
    assert names["c000"] == "cat tail"
    assert [names[path] for path in paths[1:]] == ["cat", "cat c002", "cat c003", "cat c004"]


def test_a_rare_word_names_nothing():
    """One image with a shouted text among many does not name their category."""
    leaves, words = leaves_and_words(("c000", "cat", 40), ("c001", "dog", 40))
    words[0] = {"buy", "pills", "now"}

    names = name_nodes(("c000", "c001"), leaves, words)

    assert names == {"c000": "cat", "c001": "dog"}


def test_without_words_the_path_is_the_name():
    """A lake of numbered files gives categories that are called by their place."""
    leaves, words = leaves_and_words(
        ("c000/c000", "", 3), ("c000/c001", "", 2), ("c001/c000", "", 1)
    )

    names = name_nodes(TREE, leaves, words)

    assert names == {path: path.rpartition("/")[2] for path in TREE}


def test_names_do_not_depend_on_the_order_of_images():
    """Shuffled images give the same names, of one to three words."""
    rng = random.Random(3)
    vocabulary = [f"word{letter}" for letter in "abcdefghijklmnop"]
    leaves = [rng.choice(("c000/c000", "c000/c001", "c001/c000")) for _ in range(200)]
    words = [set(rng.sample(vocabulary, 4)) for _ in range(200)]
    order = rng.sample(range(200), 200)

    names = name_nodes(TREE, leaves, words)
    mixed = name_nodes(TREE, [leaves[n] for n in order], [words[n] for n in order])

    assert names == mixed
    assert all(1 <= len(name.split()) <= 3 for name in names.values())
