"""Bodies in pieces, within limits."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.download.body import Body, Budget
from curation.download.outcome import FetchError


def pieces(data, size):
    return [data[start : start + size] for start in range(0, len(data), size)]


def take(data, encoding, size=7, max_bytes=1000, budget=None):
    body = Body(encoding, max_bytes, budget or Budget(None))
    for piece in pieces(data, size):
        body.add(piece)
    return body.finish()


@given(st.binary(max_size=300), st.integers(1, 40), st.sampled_from(["gzip", "deflate", "raw", ""]))
def test_pieces_make_the_file(data, size, encoding):
    """However the network cuts it, encoded or not."""
    encoded = {
        "gzip": gzip.compress(data),
        "deflate": zlib.compress(data),
        "raw": zlib.compress(data, wbits=-15),
        "": data,
    }[encoding]

    assert take(encoded, "deflate" if encoding == "raw" else encoding, size) == data


def test_both_sides_of_an_encoding_are_limited():
    """What comes over the wire, and what comes out of it."""
    with pytest.raises(FetchError, match="too_large: at least 1001"):
        take(gzip.compress(bytes(1001)), "gzip")
    with pytest.raises(FetchError, match="too_large: at least 1001"):
        take(zlib.compress(b"") + bytes(1000), "deflate", size=2000)
    assert take(gzip.compress(bytes(1000)), "gzip") == bytes(1000)


def test_a_budget_is_shared():
    """The file that does not fit is deferred; what it had taken is there for others no more."""
    budget = Budget(10)
    first, second = Body("", 100, budget), Body("", 100, budget)
    first.add(bytes(6))
    second.add(bytes(4))

    with pytest.raises(FetchError, match="deferred"):
        second.add(b"x")
    second.drop()

    assert budget.is_spent
    assert first.finish() == bytes(6)
    assert budget.take(4)
    assert not budget.take(1)
