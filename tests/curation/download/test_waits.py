"""Waits between tries."""

from datetime import UTC, datetime

import pytest

from curation.download.waits import backoff_s, retry_after_s


def test_backoff_doubles_up_to_its_bound():
    """Between half and the whole of 1, 2, 4, 8, 8 seconds."""
    for tried, whole in enumerate([1, 2, 4, 8, 8], start=1):
        waits = [backoff_s(f"http://x.org/{n}", tried, 1.0, 8.0) for n in range(200)]

        assert whole / 2 <= min(waits) < 0.55 * whole
        assert 0.95 * whole < max(waits) <= whole


def test_backoff_is_the_same_everywhere():
    """It is drawn from the URL, not from the process."""
    assert backoff_s("http://x.org/a", 2, 1.0, 60.0) == 1.6666269744746387
    assert backoff_s("http://x.org/a", 1, 0.0, 60.0) == 0.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Mon, 23 Nov 2026 12:01:00 GMT", 60.0),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0.0),
        ("Mon, 23 Nov 2026 12:01:00 -0000", 60.0),
        ("soon", None),
        ("-5", None),
        ("1e9", None),
        ("99999999999999999999", None),
        ("", None),
    ],
)
def test_retry_after(value, seconds):
    """Seconds or a date; what says nothing is no wait."""
    assert retry_after_s(value, datetime(2026, 11, 23, 12, tzinfo=UTC)) == seconds
