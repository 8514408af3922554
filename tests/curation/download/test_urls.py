"""URLs as keys, and URLs as they are asked for."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curation.download.outcome import FetchError
from curation.download.urls import Target, join, normalise, parse_target


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("HTTP://Example.ORG/A?B=C#d", "http://example.org/A?B=C"),
        ("  https://example.org \n", "https://example.org"),
        ("https://example.org:443/%7Ea/../b", "https://example.org:443/%7Ea/../b"),
        ("https://example.org/a#", "https://example.org/a"),
        ("https://example.org?a/B", "https://example.org?a/B"),
        ("https://Me:Secret@Example.org/a", "https://***@example.org/a"),
        ("https://a@b@Example.org/", "https://***@example.org/"),
        ("https://bücher.Example/ü", "https://bücher.example/ü"),
        ("no url at all#x", "no url at all"),
        ("//me:secret@h/x", "//***@h/x"),
        ("https:/me:secret@h/x", "https:/***@h/x"),
        ("HTTP://me:secret\\@H/x", "http://***@h/x"),
        ("http://h/a@b", "http://h/a@b"),
        ("", ""),
    ],
)
def test_normalise(url, key):
    """Scheme and host in lower case, no fragment, no secret; nothing else is touched."""
    assert normalise(url) == key


@given(st.text())
@example("0\r#")
@example("http://host/a #b")
def test_normalise_is_stable(url):
    """Whatever the text: the key of a key is the key, and names the same resource."""
    key = normalise(url)

    assert normalise(key) == key


@pytest.mark.parametrize(
    ("url", "wire", "host"),
    [
        ("http://example.org", "http://example.org/", "example.org"),
        ("http://Example.org:80/", "http://example.org/", "example.org"),
        ("https://example.org:80/", "https://example.org:80/", "example.org"),
        ("http://example.org?a=b", "http://example.org/?a=b", "example.org"),
        ("http://a_b.example.org./x", "http://a_b.example.org./x", "a_b.example.org."),
        ("http://x.org/%2e%2F~?a=%7e&b=[1]#f", "http://x.org/%2e%2F~?a=%7e&b=[1]", "x.org"),
        ("http://x.org/a b/é?ü", "http://x.org/a%20b/%C3%A9?%C3%BC", "x.org"),
        ("http://x.org\\@y.org/", "http://x.org/%5C@y.org/", "x.org"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/", "xn--bcher-kva.example"),
        ("http://[::1]:8080/", "http://[::1]:8080/", "::1"),
        ("http://[2001:DB8:0::1]/", "http://[2001:db8::1]/", "2001:db8::1"),
        ("http://10.0.0.1:9/", "http://10.0.0.1:9/", "10.0.0.1"),
    ],
)
def test_parse_target(url, wire, host):
    """What a request line can hold is left alone, the rest is percent-encoded."""
    assert parse_target(url) == Target(wire, host)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "no http"),
        ("example.org/a.png", "no http"),
        ("//example.org/a.png", "no http"),
        ("javascript:alert(1)", "no http"),
        ("file:///etc/passwd", "neither"),
        ("data://text", "neither"),
        ("http://", "no host"),
        ("http:///a", "no host"),
        ("http://:80/", "no host"),
        ("http://me@example.org/", "credentials"),
        ("http://me:secret@example.org/", "credentials"),
        ("http://@example.org/", "credentials"),
        ("http://a b/", "no valid host"),
        ("http://-a/", "no valid host"),
        ("http://a..b/", "no valid host"),
        ("http://%31%32/", "no valid host"),
        ("http://exa\u200bmple.org\u2100/", "no valid host"),
        ("http://[::1/", "no valid host"),
        ("http://[::1]x/", "no valid host"),
        ("http://[10.0.0.1]/", "no valid host"),
        ("http://[fe80::1%25eth0]x/", "no valid host"),
        ("http://::1/", "no host"),
        ("http://a::1/", "no valid port"),
        ("http://127.1/", "no valid host"),
        ("http://2130706433/", "no valid host"),
        ("http://0x7f000001/", "no valid host"),
        ("http://0177.0.0.1/", "no valid host"),
        ("http://127.0.0.1./", "no valid host"),
        ("http://x.org:0/", "no valid port"),
        ("http://x.org:65536/", "no valid port"),
        ("http://x.org:8a/", "no valid port"),
        ("http://x.org/\r\nHost: y.org", "control characters"),
        ("http://x.org/\0", "control characters"),
        ("http://x.org/" + "a" * 8000, "longer than 8000"),
    ],
)
def test_parse_target_refuses(url, reason):
    """Each with a reason of ours."""
    with pytest.raises(FetchError) as refusal:
        parse_target(url)

    assert refusal.value.error.startswith(f"bad_url: the URL cannot be asked for: {reason}")


@given(st.text())
def test_a_target_is_plain(text):
    """Whatever stands behind the host: one line of printable ASCII, to that host."""
    try:
        target = parse_target(f"http://x.org/{text}")
    except FetchError:
        return

    assert target.host == "x.org"
    assert target.url.isascii()
    assert target.url.isprintable()
    assert " " not in target.url


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("c?d", "http://x.org/a/c?d"),
        ("/c", "http://x.org/c"),
        ("?d", "http://x.org/a/b?d"),
        ("//Y.org/c", "http://y.org/c"),
        (" https://y.org ", "https://y.org/"),
        ("c\udce9", "http://x.org/a/c%E9"),
    ],
)
def test_join(location, url):
    """Redirects may be relative; header bytes that are no text come through as bytes."""
    assert join(parse_target("http://x.org/a/b?c"), location).url == url


def test_join_refuses_what_is_no_url():
    """Brackets that hold no address are refused in our words too."""
    with pytest.raises(FetchError, match="no valid host"):
        join(parse_target("http://x.org/"), "http://[x]/")
