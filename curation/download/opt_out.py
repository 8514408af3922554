"""What a site says in its headers about the use of its files."""

import re
from collections.abc import Collection, Iterable

_AGENT = re.compile(r"\s*([A-Za-z][A-Za-z0-9_.-]*|\*)\s*:(.*)", re.DOTALL)
_WITH_VALUES = ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview")


def find_opt_out(
    headers: Iterable[tuple[str, str]], agent: str, honoured: Collection[str]
) -> str | None:
    """Return the first directive in `headers` that forbids the use; null where nothing does.

    `X-Robots-Tag` is read as crawlers do: directives between commas, in any number of headers and
    in any case; `name:` in front of some addresses them, to the end of the header or the next name,
    to that crawler alone. What is addressed to others does not bind us, what is addressed to nobody
    or to `*` does.

    Args:
        headers: Names and values as the server sent them.
        agent: Our name as a crawler, in lower case.
        honoured: Directives that count, in lower case; `tdm-reservation` for the header of that
            name with the value 1.

    Source: Google Search Central, "X-Robots-Tag"; W3C TDM Reservation Protocol, section 4.1.
    """
    for name, value in headers:
        name = name.lower()
        if name == "tdm-reservation" and name in honoured and value.strip() == "1":
            return "tdm-reservation: 1"
        if name == "x-robots-tag":
            for directive in _directives(value, agent):
                # `none` is short for `noindex, nofollow`.
                if directive in honoured or (directive == "none" and "noindex" in honoured):
                    return f"X-Robots-Tag: {directive}"
    return None


def _directives(value: str, agent: str) -> Iterable[str]:
    addressed = True
    for item in value.split(","):
        match = _AGENT.fullmatch(item)
        if match and match[1].lower() not in _WITH_VALUES:
            addressed = match[1].lower() in ("*", agent)
            item = match[2]
        if addressed:
            yield item.strip().lower()
