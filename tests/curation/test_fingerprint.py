"""Canonical JSON, digests, and which change reaches which column."""

from dataclasses import replace

import pytest

from curation.fingerprint import (
    Meaning,
    base_meaning,
    canonical_json,
    digest,
    digest_files,
    pretty_json,
)

MEANING = Meaning(
    stage="score",
    backends={"scorer": "plain@1"},
    config={"scale": 2},
    digests={"weights": "ab"},
    artifact="cd",
    columns={"value": 1, "error": 1},
    pixels={"spec": {"size_px": 16}, "version": 1},
    reads={"images.image_bytes": "ef"},
)


def test_canonical_json_is_one_text_for_one_content():
    """Order of keys and spaces do not count; letters beyond ASCII are escaped."""
    assert canonical_json({"b": [1, 2.5], "a": None}) == '{"a":null,"b":[1,2.5]}'
    assert canonical_json({"a": "é"}) == '{"a":"\\u00e9"}'
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_no_nan_in_json(value):
    """What is no JSON is written nowhere."""
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json({"a": value})
    with pytest.raises(ValueError, match="JSON compliant"):
        pretty_json({"a": value})


def test_other_objects_are_refused():
    """A digest of something's address would never be the same twice."""
    with pytest.raises(TypeError):
        canonical_json({"a": object()})


def test_pretty_json_is_for_people_too():
    """Sorted, indented, readable letters, a final newline."""
    assert pretty_json({"b": "é", "a": [1]}) == (
        '{\n  "a": [\n    1\n  ],\n  "b": "é"\n}\n'.encode()
    )


def test_a_digest_never_changes():
    """Names of folders on disk follow from these."""
    assert digest({"a": [1, "x", None]}) == "cf946966268a847cf33ffefa5b616e3e"
    assert base_meaning("num_bytes", 1) == "1e47266fb24fe241d9bcc624363f02db"
    assert digest_files({"a": b"1", "b": b""}) == "dc42a4ceab9273976ecf74af2ec7cd2c"
    assert MEANING.fingerprint() == "2b856ed5ccfa8a7a"


def test_names_and_bytes_of_files_count():
    """An artefact is its files by name."""
    one = digest_files({"a": b"1", "b": b"2"})

    assert digest_files({"b": b"2", "a": b"1"}) == one
    assert digest_files({"a": b"2", "b": b"1"}) != one
    assert digest_files({"a": b"12", "b": b""}) != one


@pytest.mark.parametrize(
    "changes",
    [
        {"stage": "other"},
        {"backends": {"scorer": "plain@2"}},
        {"backends": {"scorer": "fancy@1"}},
        {"config": {"scale": 3}},
        {"config": {"scale": "2"}},
        {"digests": {"weights": "xx"}},
        {"digests": {}},
        {"artifact": None},
        {"pixels": None},
        {"pixels": {"spec": {"size_px": 16}, "version": 2}},
        {"reads": {"images.image_bytes": "00"}},
        {"reads": {}},
    ],
    ids=str,
)
def test_everything_that_can_change_a_value_counts(changes):
    """A change that can change values changes the fingerprint and every column's meaning."""
    other = replace(MEANING, **changes)

    assert other.fingerprint() != MEANING.fingerprint()
    assert other.column("value") != MEANING.column("value")
    assert other.column("error") != MEANING.column("error")


@pytest.mark.parametrize(
    "columns", [{"value": 2, "error": 1}, {"value": 1, "error": 1, "more": 1}, {"value": 1}]
)
def test_a_column_does_not_touch_its_neighbours(columns):
    """A bumped, new or dropped column is for its own stage and its own readers."""
    other = replace(MEANING, columns=columns)

    assert other.fingerprint() != MEANING.fingerprint()
    assert (other.column("value") == MEANING.column("value")) is (columns["value"] == 1)
    if "error" in columns:
        assert other.column("error") == MEANING.column("error")


def test_the_fit_key_leaves_out_the_artefact_alone():
    """A fit is found again after its artefact is pinned."""
    fitted = replace(MEANING, artifact="other")

    assert fitted.fit_key() == MEANING.fit_key() == replace(MEANING, artifact=None).fingerprint()
    assert replace(MEANING, config={"scale": 3}).fit_key() != MEANING.fit_key()


def test_columns_of_ingest_have_a_meaning_each():
    """Name and version tell them apart."""
    found = {base_meaning(name, version) for name in ("a", "b") for version in (1, 2)}

    assert len(found) == 4


def test_what_the_fit_does_not_look_at_leaves_the_artefact():
    """A moved threshold is another fingerprint, and no reason to fit again."""
    meaning = replace(MEANING, unfitted=frozenset({"threshold", "labels"}))
    moved = replace(
        meaning,
        config={"scale": 2, "threshold": 3},
        digests={"weights": "ab", "labels": "12"},
    )

    assert moved.fingerprint() != meaning.fingerprint()
    assert moved.fit_key() == meaning.fit_key() == MEANING.fit_key()
    assert replace(moved, config={"scale": 3}).fit_key() != meaning.fit_key()
    assert replace(moved, digests={"weights": "cd"}).fit_key() != meaning.fit_key()
    assert replace(moved, unfitted=frozenset()).fit_key() != meaning.fit_key()
