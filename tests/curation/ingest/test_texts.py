"""Captions and facts from beside an image: kept as they are, or left out with a reason."""

import json

import pytest

from curation.ingest.texts import Texts, read_sidecars, texts_of


def read(**parts):
    return read_sidecars(parts, "caption", "license")


def test_a_caption_and_facts_are_kept():
    """The text file goes before the object's own caption."""
    data = '{"caption": "no", "license": "CC0", "tags": ["ü"], "n": 1.5}'.encode()

    assert read(txt=b"\xef\xbb\xbfa cat\r\n", json=data) == Texts(
        "a cat", "CC0", '{"caption":"no","license":"CC0","tags":["ü"],"n":1.5}'
    )
    assert read(json=data).alt_text == "no"
    assert read(txt=b" \n") == Texts(None, None, None)


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"txt": b"caf\xe9"}, "txt: not UTF-8"),
        ({"txt": None}, "txt: more than 1048576 bytes"),
        ({"json": b"[1]"}, "json: no JSON object"),
        ({"json": b"{"}, "json: no JSON object"),
        ({"json": b"[" * 100_000}, "json: no JSON object"),
        ({"json": b'{"a":' * 100_000}, "json: no JSON object"),
        ({"json": b"", "txt": b"\xff"}, "json: no JSON object; txt: not UTF-8"),
    ],
    ids=str,
)
def test_what_cannot_be_kept_is_said(parts, reason):
    """The image has no caption then, and its metadata says why."""
    texts = read(**parts)

    assert texts.alt_text is None
    assert json.loads(texts.metadata) == {"sidecar_error": reason}


def test_numbers_that_are_not_finite_become_null():
    """Other tools write NaN for what is missing."""
    assert read(json=b'{"a": NaN, "b": 1e999, "c": [-Infinity]}').metadata == (
        '{"a":null,"b":null,"c":[null]}'
    )


def test_half_a_surrogate_pair_can_be_stored():
    """UTF-8 cannot hold it; an escape can."""
    texts = read(json=b'{"caption": "x\\ud800", "license": "\\udfff"}')

    assert texts.alt_text == "x?"
    texts.metadata.encode()
    assert json.loads(texts.metadata)["caption"] == "x\ud800"


def test_only_texts_and_numbers_are_captions():
    """A list or a truth value is not put into words."""
    assert texts_of({"caption": ["a"], "license": True}, "caption", "license").alt_text is None
    assert texts_of({"caption": 5}, "caption", "license").alt_text == "5"


@pytest.mark.parametrize("depth", [100, 900, 5000, 50_000])
def test_deep_nesting_raises_nothing(depth):
    """It is kept, or left out with a reason, wherever a parser's own limit lies."""
    value = json.loads(read(json=b'{"a":' * depth + b"1" + b"}" * depth).metadata)

    assert list(value) in (["a"], ["sidecar_error"])
    assert list(value) == ["a"] or depth > 100
