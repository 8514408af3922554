"""How images are named."""

import uuid

import pytest

from curation.errors import UsageError
from curation.forget import Request, parse_request

ID = bytes(range(16))
SHA = bytes(range(32))


def test_the_length_says_what_a_name_is():
    """Hexadecimal digits alone are enough, whatever their case."""
    names = [ID.hex(), str(uuid.UUID(bytes=ID)).upper(), SHA.hex().upper(), "00ff00ff00ff00ff"]

    request = parse_request(("here", name) for name in names)

    assert request == Request(frozenset({ID}), frozenset({SHA}), frozenset({0x00FF00FF00FF00FF}))


def test_a_prefix_says_it_too():
    """As tables print them beside the column's name."""
    names = [f"id:{ID.hex()}", f"sha256: {SHA.hex()}", "phash:00000000000000ff"]

    request = parse_request(("here", name) for name in names)

    assert request == Request(frozenset({ID}), frozenset({SHA}), frozenset({0xFF}))


def test_empty_lines_and_comments_say_nothing():
    """A file may explain itself."""
    assert parse_request([("line 1", "# ticket 12\n"), ("line 2", "  \n")]).is_empty


@pytest.mark.parametrize("name", ["cat.jpg", ID.hex()[:-1], f"sha256:{ID.hex()}", "phash:xyz", "é"])
def test_what_names_no_image_is_refused_with_its_place(name):
    """Nothing is forgotten by mistake, and the wrong line is found at once."""
    with pytest.raises(UsageError, match="line 7: .* names no image; expected"):
        parse_request([("line 7", name)])
