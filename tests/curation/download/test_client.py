"""Requests to a server that misbehaves on purpose; every end is a file or a reason."""

import asyncio
import gzip
import socket
import ssl
import threading
import zlib

import pytest

from curation.download import fetch_all
from curation.download.body import Budget
from curation.download.client import LOOKUP_THREADS, Client
from schemas.error_codes import is_transient
from tests.curation.download.certificates import make_authority, make_certificate
from tests.fakes.web import serve

IMAGE = b"\x89PNG and so on"
SMALL = 4096


def give(body=IMAGE, *headers, **how):
    """Return an answer that is always the same."""
    return lambda request, wire: wire.answer(body, *headers, **how)


def redirect(location, *headers, status="302 Found"):
    return give(b"", f"Location: {location}", *headers, status=status)


# Answers as they should be ---------------------------------------------------------------------


def test_a_file_arrives_as_it_is(web, fetch):
    """Bytes in, bytes out; the query belongs to the URL and stays as it is written."""
    web.routes["/a.png?b=%7e&c=%2F"] = give()

    assert fetch(web.url("/a.png?b=%7e&c=%2F#part")) == IMAGE


def test_we_say_who_we_are(web, fetch, monkeypatch):
    """The User-Agent has our name and the contact; no cookie, no referrer, nothing of this user."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    web.routes["/a"] = redirect("/b", "Set-Cookie: seen=1")
    web.routes["/b"] = give()

    assert fetch(web.url("/a")) == IMAGE
    headers = web.requests[-1].headers
    assert headers["user-agent"].startswith("longtail")
    assert "(+https://example.org/crawl)" in headers["user-agent"]
    assert headers["accept-encoding"] == "identity"
    assert not {"cookie", "referer", "authorization", "from"} & headers.keys()


def test_a_chunked_answer_arrives(web, fetch):
    """An answer without a Content-Length is read to its end."""

    def answer(request, wire):
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        wire.send(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")

    web.routes["/a"] = answer

    assert fetch(web.url("/a")) == b"abcde"


@pytest.mark.parametrize(
    ("encoding", "encoded"),
    [
        ("gzip", gzip.compress(IMAGE)),
        ("deflate", zlib.compress(IMAGE)),
        ("deflate", zlib.compress(IMAGE, wbits=-15)),
    ],
    ids=["gzip", "zlib", "raw"],
)
def test_an_encoding_is_undone(web, fetch, encoding, encoded):
    """Some servers encode though we ask them not to."""
    web.routes["/a"] = give(encoded, f"Content-Encoding: {encoding}")

    assert fetch(web.url("/a")) == IMAGE


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_no_bytes_are_a_file(web, fetch, encoding):
    """What an empty file is worth is for the stages to say."""
    web.routes["/a"] = give(b"", f"Content-Encoding: {encoding}")

    assert fetch(web.url("/a")) == b""


def test_a_redirect_is_followed(web, fetch):
    """Relative, absolute, and out of ASCII."""
    web.routes["/a"] = redirect("b/./c?d=1")
    web.routes["/b/c?d=1"] = redirect(web.url("/é x"), status="308 Permanent Redirect")
    web.routes["/%E9%20x"] = give()

    assert fetch(web.url("/a")) == IMAGE


# Sizes and times -------------------------------------------------------------------------------


def test_a_stated_size_above_the_limit_is_believed(web, fetch):
    """Nothing of the body is waited for."""

    def answer(request, wire):
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
        wire.hang()

    web.routes["/a"] = answer

    assert fetch(web.url("/a")) == "too_large: 5000 bytes are more than the limit of 4096"


def test_an_endless_answer_is_broken_off(web, fetch):
    """Chunks without an end and without a stated size."""

    def answer(request, wire):
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            wire.send(b"400\r\n" + bytes(1024) + b"\r\n")

    web.routes["/a"] = answer

    assert fetch(web.url("/a")).startswith("too_large: at least 4097 bytes")


@pytest.mark.parametrize("size", [SMALL, SMALL + 1])
def test_the_limit_is_exact(web, fetch, size):
    """As many bytes as allowed are taken, one more is not."""
    web.routes["/a"] = give(bytes(size))

    found = fetch(web.url("/a"))

    assert found == bytes(size) if size == SMALL else found.startswith("too_large: 4097 bytes")


def test_a_bomb_is_stopped_while_it_unfolds(web, fetch):
    """64 MiB of zeros are 64 KiB on the wire; the limit counts what comes out."""
    bomb = gzip.compress(bytes(64 << 20))
    web.routes["/a"] = give(bomb, "Content-Encoding: gzip")

    assert fetch(web.url("/a"), max_bytes=1 << 20).startswith("too_large: at least 1048577")


def test_a_body_that_ends_early_is_no_file(web, fetch):
    """A Content-Length that promised more is held to; each try is made."""

    def answer(request, wire):
        wire.answer(IMAGE, length=len(IMAGE) + 1)
        wire.cut()

    web.routes["/a"] = answer

    assert fetch(web.url("/a")) == "unavailable: the source could not be read"
    assert web.asked["/a"] == 3


def test_chunks_that_end_early_are_no_file(web, fetch):
    """A connection that is cut in the middle of chunks leaves nothing behind."""

    def answer(request, wire):
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        wire.cut()

    web.routes["/a"] = answer

    assert fetch(web.url("/a"), tries=1) == "unavailable: the source could not be read"


def test_more_than_was_stated_is_not_read(web, fetch):
    """What comes behind the Content-Length is part of no file; it may show the answer as broken."""
    web.routes["/a"] = give(IMAGE + b"surplus", length=len(IMAGE))

    found = fetch(web.url("/a"))

    assert found == IMAGE or found.startswith("bad_response")


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"])
def test_a_silent_server_is_left(web, fetch, head):
    """Before its headers or after them."""

    def answer(request, wire):
        wire.send(head)
        wire.hang()

    web.routes["/a"] = answer

    found = fetch(web.url("/a"), read_timeout_s=0.2, tries=2)

    assert found == "timeout: no answer within 0.2 s"
    assert web.asked["/a"] == 2


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"])
def test_a_trickle_is_cut_off(web, fetch, head):
    """A byte now and then keeps a connection open, but not beyond the time for a request."""

    def answer(request, wire):
        wire.send(head or b"HTTP/1.1 200 OK\r\nX-Long: ")
        for _ in wire.trickle():
            wire.send(b"x")

    web.routes["/a"] = answer

    found = fetch(web.url("/a"), request_timeout_s=0.3, tries=1, max_bytes=1 << 20)

    assert found == "timeout: no answer within 0.3 s"


# Status codes and tries ------------------------------------------------------------------------


def test_a_passing_failure_is_tried_again(web, fetch):
    """500 first, then the file."""

    def answer(request, wire):
        if request.number == 1:
            wire.answer(b"oops", status="500 Internal Server Error")
        else:
            wire.answer(IMAGE)

    web.routes["/a"] = answer

    assert fetch(web.url("/a")) == IMAGE
    assert web.asked["/a"] == 2


@pytest.mark.parametrize(
    ("status", "code", "requests"),
    [
        (404, "not_found", 1),
        (410, "not_found", 1),
        (401, "denied", 1),
        (403, "denied", 1),
        (451, "denied", 1),
        (204, "denied", 1),
        (206, "denied", 1),
        (408, "unavailable", 3),
        (429, "rate_limited", 3),
        (500, "unavailable", 3),
        (503, "unavailable", 3),
    ],
)
def test_statuses_have_codes(web, fetch, status, code, requests):
    """What may pass is tried three times and listed again; what will not, neither."""
    web.routes["/a"] = give(b"" if status == 204 else b"no", status=f"{status} So")

    error = fetch(web.url("/a"))

    assert error.partition(":")[0] == code
    assert web.asked["/a"] == requests
    assert is_transient(error) == (requests > 1)


def test_a_wait_that_the_server_asks_for_is_made(web, fetch):
    """Retry-After within our bound is honoured, and the file taken then."""

    def answer(request, wire):
        if request.number == 1:
            wire.answer(b"", "Retry-After: 0", status="429 Too Many Requests")
        else:
            wire.answer(IMAGE)

    web.routes["/a"] = answer

    assert fetch(web.url("/a")) == IMAGE


def test_a_wait_beyond_our_bound_is_left_to_the_next_ingest(web, fetch):
    """The server gets the hour that it asks for: no second request is made."""
    web.routes["/a"] = give(b"", "Retry-After: 3600", status="429 Too Many Requests")

    error = fetch(web.url("/a"), max_wait_s=0.0)

    assert error == "rate_limited: the service asked for fewer requests"
    assert web.asked["/a"] == 1


# Redirects that lead astray --------------------------------------------------------------------


def test_a_loop_of_redirects_ends(web, fetch):
    """Five are followed, the sixth is not."""
    web.routes["/a"] = redirect("/a")

    assert fetch(web.url("/a")) == "redirects: more than 5 redirects"
    assert web.asked["/a"] == 6


@pytest.mark.parametrize(
    ("location", "error"),
    [
        ("file:///etc/passwd", "bad_url: the URL cannot be asked for: neither http nor https"),
        ("ftp://example.org/a", "bad_url: the URL cannot be asked for: neither http nor https"),
        ("http://me:secret@example.org/", "bad_url: the URL cannot be asked for: credentials in"),
        ("http://169.254.169.254/latest", "forbidden_address: 169.254.169.254 has an address"),
        ("//10.0.0.1/", "forbidden_address: 10.0.0.1 has an address"),
        ("http://[::ffff:10.0.0.1]/", "forbidden_address: ::ffff:a00:1 has an address"),
        ("http://[fe80::1]/", "forbidden_address: fe80::1 has an address"),
        ("http://2130706433/", "bad_url: the URL cannot be asked for: no valid host in it"),
        ("http://inside.example/", "forbidden_address: inside.example has an address"),
    ],
)
def test_a_redirect_is_checked_like_a_url(web, fetch, location, error):
    """Every hop may lead into the network that we stand in; none is followed there."""
    web.routes["/a"] = redirect(location)

    found = fetch(web.url("/a"), lookup=lambda host: ["192.168.0.1"])

    assert found.startswith(error)
    assert not is_transient(found)


@pytest.mark.parametrize("headers", [(), ("Location: ",)])
def test_a_redirect_to_nowhere(web, fetch, headers):
    """Without a Location it is no answer; an empty one leads back, and in a circle."""
    web.routes["/a"] = give(b"", *headers, status="302 Found")

    assert fetch(web.url("/a")).startswith("redirects" if headers else "bad_response")


# Addresses -------------------------------------------------------------------------------------


def test_loopback_is_refused_unless_allowed(web, fetch):
    """By number, by name, and in IPv6: the server sees no request."""
    for host in ("127.0.0.1", "localhost", "a.example", "[::1]", "[::ffff:127.0.0.1]"):
        found = fetch(web.url("/a", host), allow_addresses=(), lookup=lambda name: ["127.0.0.1"])

        assert found.startswith("forbidden_address")
    assert not web.requests


def test_one_forbidden_address_among_others_is_enough(web, fetch):
    """A name with a public and a private address is a trap, whichever comes first."""
    for addresses in (["93.184.215.14", "10.0.0.1"], ["10.0.0.1", "93.184.215.14"]):
        found = fetch(web.url("/a", "trap.example"), lookup=lambda name, found=addresses: found)

        assert found == "forbidden_address: trap.example has an address that is not public"


def test_a_name_is_connected_to_as_it_was_checked(web, fetch):
    """A name server that answers otherwise the second time is not asked a second time."""
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    web.routes["/a"] = redirect("/b")
    web.routes["/b"] = give()

    assert fetch(web.url("/a", "rebind.example"), lookup=lambda name: next(answers)) == IMAGE
    assert web.requests[0].headers["host"] == f"rebind.example:{web.port}"
    assert next(answers) == ["10.0.0.1"]


def test_no_socket_is_made_for_a_forbidden_address(config):
    """Should a check ever be missed on the way, the connection itself still fails."""

    async def make(host):
        client = Client(config(allow_addresses=()), SMALL, Budget(None), loopback)
        client._make_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", (host, 80))).close()

    asyncio.run(make("8.8.8.8"))
    with pytest.raises(PermissionError, match="not public"):
        asyncio.run(make("10.0.0.1"))


def test_a_name_without_an_address(web, fetch):
    """It is looked up once, and may exist tomorrow."""
    asked = []

    def lookup(name):
        asked.append(name)
        raise OSError("no such name")

    error = fetch("http://gone.example/a", lookup=lookup)

    assert error == "unavailable: the source could not be read"
    assert asked == ["gone.example"]


def test_an_ipv6_literal_is_connected_to(fetch):
    """Brackets and all."""
    with serve("::1") as web:
        web.routes["/a"] = give()

        assert fetch(web.url("/a", "[::1]")) == IMAGE
        assert web.requests[0].headers["host"] == f"[::1]:{web.port}"


def test_nobody_listens(web, fetch):
    """A refused connection is tried again, then left to the next ingest."""
    web.server_close()

    assert fetch(web.url("/a")) == "unavailable: the source could not be read"


# Headers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "directive"),
    [
        (["X-Robots-Tag: noai"], "X-Robots-Tag: noai"),
        (["X-Robots-Tag: noindex", "x-robots-tag: max-snippet:3, NoImageAI"], "X-Robots-Tag: noi"),
        (["X-Robots-Tag: longtail: noai"], "X-Robots-Tag: noai"),
        (["TDM-Reservation: 1"], "tdm-reservation: 1"),
    ],
)
def test_an_opt_out_is_honoured(web, fetch, headers, directive):
    """Its body is not read, and nobody asks again."""

    def answer(request, wire):
        wire.send("\r\n".join(["HTTP/1.1 200 OK", *headers, "Content-Length: 9"]).encode())
        wire.send(b"\r\n\r\n")
        wire.hang()

    web.routes["/a"] = answer

    error = fetch(web.url("/a"))

    assert error.startswith(f"opted_out: the server's headers forbid this use ({directive}")
    assert web.asked["/a"] == 1
    assert not is_transient(error)


def test_an_opt_out_on_the_way_counts(web, fetch):
    """A redirect that forbids the use is not followed."""
    web.routes["/a"] = redirect("/b", "X-Robots-Tag: noai")
    web.routes["/b"] = give()

    assert fetch(web.url("/a")).startswith("opted_out")
    assert web.asked["/b"] == 0


def test_an_opt_out_that_does_not_count_here(web, fetch):
    """One for another crawler, and one that the user has not asked to honour."""
    web.routes["/a"] = give(IMAGE, "X-Robots-Tag: otherbot: noai")
    web.routes["/b"] = give(IMAGE, "TDM-Reservation: 1")

    assert fetch(web.url("/a")) == IMAGE
    assert fetch(web.url("/b"), opt_outs=("noai",)) == IMAGE


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nX-Huge: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Many: x\r\n" * 10_000 + b"\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\n",
    ],
    ids=["huge", "many", "ssh", "twice", "negative"],
)
def test_what_is_no_http_is_refused(web, fetch, head):
    """Headers beyond measure, or no HTTP at all: nothing of it is kept."""

    def answer(request, wire):
        wire.send(head)
        wire.cut()

    web.routes["/a"] = answer

    found = fetch(web.url("/a"), request_timeout_s=5)

    assert found == "bad_response: the server's answer cannot be used: it is no valid HTTP"


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (b"no gzip", "gzip"),
        (gzip.compress(IMAGE)[:-4], "gzip"),
        (gzip.compress(IMAGE) + b"more", "gzip"),
        (b"whatever", "br"),
        (gzip.compress(gzip.compress(IMAGE)), "gzip, gzip"),
    ],
    ids=["broken", "short", "long", "unknown", "twice"],
)
def test_an_encoding_that_cannot_be_undone(web, fetch, body, encoding):
    """Broken, cut off, or one that was not asked for."""
    web.routes["/a"] = give(body, f"Content-Encoding: {encoding}")

    assert fetch(web.url("/a")).startswith("bad_response: the server's answer cannot be used")


# TLS -------------------------------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path):
    return make_authority(tmp_path)


@pytest.fixture
def tls(authority):
    """A server whose certificate is for `good.example` and for no address."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(make_certificate(authority, "good.example"))
    with serve(context=context) as server:
        server.routes["/a"] = give()
        yield server


def loopback(name):
    return ["127.0.0.1"]


def test_a_certificate_is_checked_against_the_name(tls, authority, fetch):
    """Though we connect to an address, the name of the URL is what must be proved."""
    settings = {"ca_file": str(authority.file), "lookup": loopback}

    assert fetch(tls.url("/a", "good.example"), **settings) == IMAGE
    for host in ("bad.example", "127.0.0.1"):
        error = fetch(tls.url("/a", host), **settings)

        assert error == f"insecure: the server could not prove that it is {host}"
        assert is_transient(error)
    assert tls.asked["/a"] == 1


def test_an_unknown_authority_is_not_believed(tls, fetch):
    """Without its file, the same certificate proves nothing."""
    assert fetch(tls.url("/a", "good.example"), lookup=loopback).startswith("insecure")
    assert not tls.requests


def test_no_tls_where_tls_was_asked_for(web, fetch):
    """A plain server behind https is not fallen back to."""
    url = web.url("/a").replace("http:", "https:")

    web.routes["/a"] = give()

    assert is_transient(fetch(url, request_timeout_s=0.3, tries=1))
    assert not web.requests


def test_names_that_hang_cost_other_hosts_no_answer(web, config):
    """They hold every thread that looks names up; the time of the others begins with theirs."""
    free = threading.Event()

    def lookup(name):
        if name.startswith("dead"):
            free.wait(2.0)
            raise OSError("no answer")
        return ["127.0.0.1"]

    web.routes["/a"] = lambda request, wire: wire.answer(IMAGE)
    urls = [web.url("/a", f"dead{n}.example") for n in range(LOOKUP_THREADS)]
    urls += [web.url("/a", f"good{n}.example") for n in range(4)]
    settings = config(connect_timeout_s=0.5)

    found = dict(fetch_all(urls, settings, max_bytes=SMALL, lookup=lookup))

    assert [type(found[n]).__name__ for n in range(len(urls))] == [
        *["Failed"] * LOOKUP_THREADS,
        *["Fetched"] * 4,
    ]
