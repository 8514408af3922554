"""What headers forbid."""

import pytest

from curation.download.opt_out import find_opt_out

HONOURED = ("noai", "noimageai", "tdm-reservation")


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (["noai"], "noai"),
        (["NoImageAI"], "noimageai"),
        (["noindex, noai"], "noai"),
        (["noindex", "nofollow,noimageai"], "noimageai"),
        (["*: noai"], "noai"),
        (["longtail: noai"], "noai"),
        (["LongTail:noindex, noai"], "noai"),
        (["otherbot: noindex, longtail: noai"], "noai"),
        (["otherbot: noai", "noai"], "noai"),
        (["max-snippet: 20, noai"], "noai"),
        (["unavailable_after: Sat, 25 Jun 2030 15:00:00 PST, noai"], "noai"),
        (["otherbot: noai"], None),
        (["otherbot: noindex, noai"], None),
        (["longtail: noai-please"], None),
        (["noindex, nofollow, none, noarchive"], None),
        ([""], None),
        ([",,:,"], None),
    ],
)
def test_robots_tags(values, found):
    """Directives bind whom they address, and everybody where they address nobody."""
    headers = [("X-Robots-Tag", value) for value in values]

    directive = find_opt_out(headers, "longtail", HONOURED)

    assert directive == (found and f"X-Robots-Tag: {found}")


@pytest.mark.parametrize(
    ("value", "counts"), [("1", True), (" 1 ", True), ("0", False), ("", False)]
)
def test_tdm_reservation(value, counts):
    """The value 1 reserves the rights, nothing else does."""
    found = find_opt_out([("tdm-reservation", value)], "longtail", HONOURED)

    assert found == ("tdm-reservation: 1" if counts else None)


def test_only_what_is_honoured_counts():
    """A user may honour more than the default, or less."""
    headers = [("X-Robots-Tag", "noindex, noai"), ("TDM-Reservation", "1")]

    assert find_opt_out(headers, "longtail", ()) is None
    assert find_opt_out(headers, "longtail", ("noindex",)) == "X-Robots-Tag: noindex"
    none = [("X-Robots-Tag", "none")]  # noindex and nofollow in one word
    assert find_opt_out(none, "longtail", ("noindex",)) == "X-Robots-Tag: none"
    assert find_opt_out(none, "longtail", ("noai",)) is None
    assert find_opt_out(headers, "longtail", ("tdm-reservation",)) == "tdm-reservation: 1"
