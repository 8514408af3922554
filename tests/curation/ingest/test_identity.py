"""Keys and ids; the frozen values are in `tests/golden/test_identity.py`."""

import hashlib
import uuid

from hypothesis import given
from hypothesis import strategies as st

from curation.ingest.identity import decode_key, encode_key, image_id

CONTENT = hashlib.sha256(b"content").digest()


@given(st.binary())
def test_keys_survive_the_round_trip(key):
    """Whatever bytes a file is called by come back from the text."""
    text = encode_key(key)

    assert decode_key(text) == key
    assert text.encode().decode() == text


@given(st.binary(), st.binary())
def test_keys_stay_apart(one, other):
    """Two keys never share a text."""
    assert (encode_key(one) == encode_key(other)) == (one == other)


def test_text_is_kept_readable():
    """Only `%` and bytes that are no UTF-8 are escaped."""
    assert encode_key("été/a b+c.jpg".encode()) == "été/a b+c.jpg"
    assert encode_key(b"100%.jpg") == "100%25.jpg"
    assert encode_key(b"\xe9t\xe9") == "%E9t%E9"
    assert encode_key(b"\xed\xa0\x80") == "%ED%A0%80"  # a surrogate is no UTF-8


@given(st.text(), st.binary(), st.integers(0, 2**64 - 1))
def test_ids_are_uuids_of_version_8(name, key, ordinal):
    """The version and variant bits are set whatever goes in."""
    found = uuid.UUID(bytes=image_id(name, key, ordinal, CONTENT))

    assert found.version == 8
    assert found.variant == uuid.RFC_4122


def test_every_part_enters_the_id():
    """Another source, key, ordinal or content is another id, and lengths keep the parts apart."""
    ids = [
        image_id("lake", b"a.jpg", 0, CONTENT),
        image_id("pond", b"a.jpg", 0, CONTENT),
        image_id("lake", b"b.jpg", 0, CONTENT),
        image_id("lake", b"a.jpg", 1, CONTENT),
        image_id("lake", b"a.jpg", 0, bytes(31) + b"\1"),
        image_id("lake", b"a.jpg", 0, None),
        image_id("lakea", b".jpg", 0, CONTENT),
    ]

    assert len(set(ids)) == len(ids)
