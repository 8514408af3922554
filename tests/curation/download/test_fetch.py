"""Many URLs in one call: manners, budgets, and an end in any case."""

import threading
from collections import Counter

import pytest

from curation.download import Failed, Fetched, fetch_all
from curation.errors import UsageError

IMAGE = b"\x89PNG"


def error_of(outcome):
    assert isinstance(outcome, Failed)
    return outcome.error


def answer(request, wire):
    wire.answer(request.path.encode())


def test_every_url_has_one_outcome(web, config):
    """Whatever becomes of each, none is lost and none comes twice."""
    web.routes.update({f"/{n}": answer for n in range(0, 60, 2)})
    urls = [web.url(f"/{n}") for n in range(60)] + ["nonsense", web.url("/0")]

    found = dict(fetch_all(urls, config(per_host=8), max_bytes=99))

    assert sorted(found) == list(range(62))
    assert all(found[n] == Fetched(f"/{n}".encode()) for n in range(0, 60, 2))
    assert all(error_of(found[n]).startswith("not_found") for n in range(1, 60, 2))
    assert error_of(found[60]).startswith("bad_url")
    assert found[61] == Fetched(b"/0")


def test_no_urls(config):
    """Nothing in, nothing out."""
    assert list(fetch_all([], config(), max_bytes=99)) == []


@pytest.mark.parametrize(("per_host", "concurrency", "most"), [(3, 64, 3), (8, 2, 2)])
def test_few_requests_at_a_time(web, config, per_host, concurrency, most):
    """The host's limit and the whole's are both reached and kept."""
    barrier = threading.Barrier(most)

    def together(request, wire):
        barrier.wait(10)  # broken, unless so many come at once
        wire.answer(b"x")

    web.routes["/a"] = together
    urls = [web.url("/a")] * (4 * most)
    settings = config(per_host=per_host, concurrency=concurrency)

    found = [outcome for _, outcome in fetch_all(urls, settings, max_bytes=99)]

    assert found == [Fetched(b"x")] * (4 * most)
    assert web.most_at_once == most


def test_a_host_behind_redirects_has_its_limit_too(web, config):
    """Short links of many hosts that lead to one do not crowd it."""

    def to_one(request, wire):
        wire.answer(b"", f"Location: {web.url('/a', 'one.example')}", status="302 Found")

    web.routes.update({"/r": to_one, "/a": answer})
    urls = [web.url("/r", f"h{n}.example") for n in range(12)]
    at_once: Counter[str] = Counter()

    def slow(request, wire):
        with lock:
            at_once["now"] += 1
            at_once["most"] = max(at_once["most"], at_once["now"])
        wire.answer(b"x")
        with lock:
            at_once["now"] -= 1

    lock = threading.Lock()
    web.routes["/a"] = slow

    found = fetch_all(urls, config(per_host=1), max_bytes=99, lookup=lambda host: ["127.0.0.1"])

    assert [outcome for _, outcome in found] == [Fetched(b"x")] * 12
    assert at_once["most"] == 1


def test_a_dead_host_is_left_alone(web, config):
    """After four requests without an answer, nobody waits for more."""

    def hang(request, wire):
        wire.hang()

    web.routes["/a"] = hang
    urls = [web.url("/a")] * 40

    found = [
        error_of(outcome)
        for _, outcome in fetch_all(
            urls, config(read_timeout_s=0.1, host_failures=4, per_host=2), max_bytes=99
        )
    ]

    assert Counter(error.partition(":")[0] for error in found).keys() <= {"timeout", "unavailable"}
    assert len(found) == 40
    assert web.asked["/a"] <= 5


def test_memory_is_bounded(web, config):
    """What does not fit any more is deferred, and nearly nothing of it is asked for."""
    web.routes["/a"] = lambda request, wire: wire.answer(bytes(100))
    urls = [web.url("/a")] * 50

    found = [
        outcome
        for _, outcome in fetch_all(urls, config(per_host=1), max_bytes=100, max_total_bytes=1050)
    ]

    assert found.count(Fetched(bytes(100))) == 10
    assert found.count(Failed("deferred: its shard had no more room or time for it")) == 40
    assert web.asked["/a"] == 11


def test_time_is_bounded(web, config):
    """At the deadline every URL without an end is deferred."""

    def hang(request, wire):
        wire.hang()

    web.routes.update({"/a": answer, "/h": hang})
    urls = [web.url("/a"), web.url("/h"), web.url("/h"), web.url("/a")]

    found = dict(fetch_all(urls, config(deadline_s=0.5, per_host=4), max_bytes=99))

    assert found[0] == found[3] == Fetched(b"/a")
    assert found[1] == found[2]
    assert error_of(found[1]).startswith("deferred")


def test_an_iterator_can_be_dropped(web, config):
    """What is under way is broken off; no thread stays behind."""

    def hang(request, wire):
        wire.hang()

    web.routes.update({"/a": answer, "/h": hang})
    before = threading.active_count()
    found = fetch_all([web.url("/h"), web.url("/a")], config(), max_bytes=99)

    assert next(found) == (1, Fetched(b"/a"))
    found.close()

    assert not [thread for thread in threading.enumerate() if thread.name.startswith("download")]
    assert threading.active_count() <= before + 2  # the server's own


def test_a_file_of_authorities_is_checked_first(config, tmp_path):
    """A wrong path is refused before anything starts."""
    empty = tmp_path / "ca.pem"
    empty.write_text("nothing")

    for file in (empty, tmp_path / "missing.pem"):
        with pytest.raises(UsageError, match="ca_file"):
            fetch_all([], config(ca_file=str(file)), max_bytes=99)
