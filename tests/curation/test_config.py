"""Configuration files: strict keys, sentences with the path and the nearest known name."""

from typing import Annotated, Literal

import pytest
from pydantic import Field

from curation.config import (
    Config,
    apply_overrides,
    known_keys,
    nearest,
    parse_yaml,
    read_text,
    validate,
)
from curation.errors import ConfigError


class Inner(Config):
    """A nested section."""

    radius: int = 6
    ratio: float = 0.5


class Outer(Config):
    """A file."""

    name: str
    inner: Inner = Inner()
    maybe: Inner | None = None


def test_values_are_checked_and_frozen():
    """A checked configuration cannot be changed any more."""
    config = validate(Outer, {"name": "x", "inner": {"radius": 3}}, "p")

    assert config.inner == Inner(radius=3)
    with pytest.raises(ValueError, match="frozen"):
        config.name = "y"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"name": "x", "iner": {}}, "p.iner: unknown key (did you mean inner?)"),
        (
            {"name": "x", "inner": {"raduis": 1}},
            "p.inner.raduis: unknown key (did you mean radius?)",
        ),
        (
            {"name": "x", "maybe": {"raduis": 1}},
            "p.maybe.raduis: unknown key (did you mean radius?)",
        ),
        (
            {"name": "x", "zzz": 1},
            "p.zzz: unknown key; known keys: inner, maybe, name",
        ),
        ({}, "p.name: this key is required"),
        (
            {"name": "x", "inner": {"radius": "many"}},
            (
                "p.inner.radius: Input should be a valid integer, unable to parse string as an "
                "integer, found 'many' (str)"
            ),
        ),
        (
            {"name": 5},
            "p.name: Input should be a valid string, found 5 (int); put it in quotes",
        ),
        (
            {"name": "x", "inner": {"ratio": float("inf")}},
            "p.inner.ratio: Input should be a finite number, found inf (float)",
        ),
    ],
)
def test_a_wrong_value_is_a_sentence_with_its_path(value, sentence):
    """Every problem names the whole path, what was found, and for a key the nearest known one."""
    with pytest.raises(ConfigError) as caught:
        validate(Outer, value, "p")

    assert str(caught.value) == sentence
    assert caught.value.exit_code == 2


def test_every_problem_is_named_at_once():
    """Two mistakes give two lines, not one after the other."""
    with pytest.raises(ConfigError) as caught:
        validate(Outer, {"nam": "x", "inner": {"radius": "x"}}, "")

    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["name", "inner.radius", "nam"]


def test_known_keys_of_a_union_are_those_of_all():
    """Keys of exchangeable backends are all known."""
    assert known_keys(Inner | Outer) == ["inner", "maybe", "name", "radius", "ratio"]


def test_nearest_says_nothing_where_nothing_is_near():
    """A hint that is far off helps nobody."""
    assert nearest("aesthetik", ["aesthetic", "ocr"]) == " (did you mean aesthetic?)"
    assert nearest("qqq", ["aesthetic", "ocr"]) == ""


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: 1\nb: 2\na: 3\n", "p.yaml: line 3: 'a' stands here twice"),
        ("a:\n  b: 1\n  b: 2\n", "p.yaml: line 3: 'b' stands here twice"),
        ("a: [1\n", "p.yaml, line 2: expected ',' or ']', but got '<stream end>'"),
        ("- a\n- b\n", "p.yaml: expected keys and values, found list"),
        ("", "p.yaml: expected keys and values, found NoneType"),
        ("7: x\n", "p.yaml: the key 7 is no text; put it in quotes"),
        ("on: x\n", "p.yaml: the key True is no text; put it in quotes"),
        ("a: \x00\n", "p.yaml: not YAML"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(text, sentence):
    """What is no plain YAML mapping gets one sentence with file and line."""
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "p.yaml")

    assert str(caught.value) == sentence


def test_yaml_makes_no_objects():
    """A tag that would run Python is refused."""
    with pytest.raises(ConfigError, match="p.yaml, line 1: could not determine a constructor"):
        parse_yaml("a: !!python/object/apply:os.system ['true']", "p.yaml")


def test_overrides_are_set_along_their_path():
    """Values are YAML, missing sections are made, and the given mapping stays as it was."""
    value = {"stages": {"dedup": {"radius": 1}}}

    changed = apply_overrides(
        value, ["stages.dedup.radius=6", "stages.ocr.langs=[en, de]", "name=x"]
    )

    assert changed == {
        "stages": {"dedup": {"radius": 6}, "ocr": {"langs": ["en", "de"]}},
        "name": "x",
    }
    assert value == {"stages": {"dedup": {"radius": 1}}}


def test_an_override_can_fill_an_empty_section():
    """`stages.ocr:` without a value is null, and takes overrides all the same."""
    assert apply_overrides({"ocr": None}, ["ocr.langs=en"]) == {"ocr": {"langs": "en"}}


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("radius", "--set radius: expected PATH=VALUE, as in stages.dedup.radius=6"),
        ("=5", "--set =5: expected PATH=VALUE, as in stages.dedup.radius=6"),
        ("name.x=5", "--set name.x=5: name is no mapping"),
        ("name=[1", "--set name=[1: the value is not YAML; put text in quotes"),
    ],
)
def test_a_wrong_override_is_refused(override, sentence):
    """An override is checked before anything is read with it."""
    with pytest.raises(ConfigError) as caught:
        apply_overrides({"name": "x"}, [override])

    assert str(caught.value) == sentence


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    """Missing, a folder, or no text: a sentence each."""
    with pytest.raises(ConfigError, match="no such file; there are examples"):
        read_text(tmp_path / "missing.yaml")
    with pytest.raises(ConfigError, match="cannot be read as a UTF-8 text file"):
        read_text(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9")
    with pytest.raises(ConfigError, match="cannot be read as a UTF-8 text file"):
        read_text(tmp_path / "latin.yaml")


class Cat(Config):
    """One of two classes that a key chooses between."""

    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(Config):
    """The other one."""

    kind: Literal["dog"] = "dog"
    tricks: tuple[str, ...] = ()


class Home(Config):
    """Has a choice inside."""

    pet: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None


@pytest.mark.parametrize(
    ("pet", "sentence"),
    [
        ({"kind": "cat", "live": 3}, "home.pet.live: unknown key (did you mean lives?)"),
        ({"kind": "dog", "lives": 3}, "home.pet.lives: unknown key; known keys: kind, tricks"),
        (
            {"kind": "cow"},
            "home.pet.kind: expected one of cat, dog, found 'cow'",
        ),
        (
            {"kind": "dog", "tricks": 3},
            "home.pet.tricks: Input should be a valid tuple, found 3 (i",
        ),
    ],
)
def test_a_choice_between_classes_is_checked_as_the_chosen_one(pet, sentence):
    """With the path that the user wrote, which has no class in it."""
    with pytest.raises(ConfigError) as caught:
        validate(Home, {"pet": pet}, "home")

    assert str(caught.value).startswith(sentence)
