"""URLs: the form that names a row, and the form that goes over the wire."""

import ipaddress
import re
import urllib.parse
from dataclasses import dataclass

from curation.download.outcome import FetchError

MAX_URL_LENGTH = 8000
"""Characters; servers and their proxies commonly take no longer request line."""

_PARTS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#\\]*)([^#]*)", re.DOTALL)
_USERINFO = re.compile(r"(//?)[^/?#@]*@")
"""Credentials, wherever they stand in what is no URL and is refused."""

_HOST = re.compile(r"(?!-)[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?")
_PORT = re.compile(r"[0-9]{1,5}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_KEPT = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"<>\\^`{|}')
_PORTS = {"http": 80, "https": 443}


def normalise(url: str) -> str:
    """Return the form of `url` that is the key of its row.

    The fragment goes, the scheme and the host become lower case, and credentials become `***`, for
    keys are stored. Nothing else: servers may tell apart whatever else differs. Text that is no URL
    comes back without the blanks around it.
    """
    url = url.partition("#")[0].strip()
    match = _PARTS.match(url)
    if match is None or match[3].startswith("\\"):
        hidden = _USERINFO.sub(r"\1***@", url)
        return url if hidden == url else normalise(hidden)
    scheme, authority, rest = match.groups()
    userinfo, at, host = authority.rpartition("@")
    secret = "***" if userinfo else ""
    return f"{scheme.lower()}://{secret}{at}{host.lower()}{rest}"


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that may be asked for.

    Attributes:
        url: In ASCII, without fragment, as it goes over the wire.
        host: Name in lower case and ASCII, or numeric address without brackets.
    """

    url: str
    host: str


def parse_target(url: str) -> Target:
    """Check a URL and bring it into the form that goes over the wire.

    What is no ASCII, and what a request line cannot hold, is percent-encoded; nothing else is
    touched, since signatures in a URL cover its exact text.

    Raises:
        FetchError: `bad_url`, with the reason.
    """
    url = url.strip()
    if len(url) > MAX_URL_LENGTH:
        raise _bad(f"longer than {MAX_URL_LENGTH} characters")
    if _CONTROL.search(url):
        raise _bad("control characters in it")
    match = _PARTS.match(url)
    if match is None:
        raise _bad("no http:// or https:// in front")
    scheme, authority, rest = match.groups()
    scheme = scheme.lower()
    if scheme not in _PORTS:
        raise _bad("neither http nor https")
    if "@" in authority:
        raise _bad("credentials in it")
    host, port = _split_port(authority)
    bracketed = f"[{host}]" if ":" in host else host
    place = bracketed if port in (None, _PORTS[scheme]) else f"{bracketed}:{port}"
    path = urllib.parse.quote(rest, safe=_KEPT, errors="surrogateescape")
    if not path.startswith("/"):
        path = f"/{path}"
    return Target(f"{scheme}://{place}{path}", host)


def refusal(url: str) -> str | None:
    """Return the `code: text` of why `url` will never be asked for; null where it may be."""
    try:
        parse_target(url)
    except FetchError as error:
        return error.error
    return None


def join(base: Target, location: str) -> Target:
    """Return where a redirect from `base` leads.

    Raises:
        FetchError: `bad_url`, with the reason.
    """
    try:
        return parse_target(urllib.parse.urljoin(base.url, location.strip()))
    except ValueError as error:  # urljoin: brackets that hold no address
        raise _bad("no valid host in it") from error


def _bad(reason: str) -> FetchError:
    return FetchError("bad_url", reason=reason)


def _split_port(authority: str) -> tuple[str, int | None]:
    if authority.startswith("["):
        literal, bracket, tail = authority[1:].partition("]")
        colon, port = tail[:1], tail[1:]
        if not bracket or colon not in ("", ":"):
            raise _bad("no valid host in it")
        host = _ipv6(literal)
    else:
        name, colon, port = authority.partition(":")
        host = _name(name)
    if not colon or not port:
        return host, None
    if not _PORT.fullmatch(port) or not 0 < int(port) < 1 << 16:
        raise _bad("no valid port in it")
    return host, int(port)


def _ipv6(literal: str) -> str:
    try:
        return str(ipaddress.IPv6Address(literal))
    except ValueError as error:
        raise _bad("no valid host in it") from error


def _name(name: str) -> str:
    if not name:
        raise _bad("no host in it")
    if not name.isascii():
        import idna

        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except idna.IDNAError as error:
            raise _bad("no valid host in it") from error
    name = name.lower()
    if not _HOST.fullmatch(name) or len(name) > 253:
        raise _bad("no valid host in it")
    last = name.rstrip(".").rpartition(".")[2]
    if last.isdigit() or last.startswith("0x"):
        # `127.1`, `0x7f000001` and `017700000001` are addresses for some and names for others.
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError as error:
            raise _bad("no valid host in it") from error
    return name
