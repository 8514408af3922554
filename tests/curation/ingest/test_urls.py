"""`kind: urls`, against a server on loopback: what is listed, taken, and tried again."""

import gzip
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.ingest.entries import START
from curation.ingest.urls import UrlsConfig, UrlSource
from curation.ingest.work_list import freeze_lists
from tests.fakes.web import serve

IMAGE = b"\x89PNG\r\n\x1a\nimage"
DOWNLOAD = {
    "contact": "https://example.org/crawl",
    "host_delay_s": 0.0,
    "backoff_s": 0.0,
    "tries": 1,
    "allow_addresses": ["127.0.0.0/8"],
}


@pytest.fixture
def web():
    with serve() as server:
        yield server


@pytest.fixture
def urls(lake):
    """Make the configuration of a source of URLs in the lake."""

    def config(download=None, **settings):
        section = {"download": {**DOWNLOAD, **(download or {})}, **settings}
        return UrlsConfig.model_validate({"name": "web", "roots": (str(lake),), **section})

    return config


@pytest.fixture
def rows():
    """Return every row by its key, of the latest shard that has it."""

    def read(dataset):
        return {
            row["source_key"]: row
            for shard in dataset.image_shards()
            for row in dataset.read_images(shard).to_pylist()
        }

    return read


def give(body, *headers, **how):
    return lambda request, wire: wire.answer(body, *headers, **how)


def write_lines(lake, *lines, name="urls.txt"):
    (lake / name).write_text("\n".join(lines))


def code_of(row):
    return (row["source_error"] or "").partition(":")[0]


# Listing ---------------------------------------------------------------------------------------

ROWS: list[dict[str, Any]] = [
    {"URL": "http://b.org/2", "TEXT": "two", "LICENSE": "cc0", "w": 3},
    {"URL": "http://a.org/1", "TEXT": "one", "LICENSE": "?", "w": None},
]


def _jsonl(path):
    path.write_text("\n".join(json.dumps(row) for row in ROWS))


def _csv(path):
    lines = [[str(v if v is not None else "") for v in row.values()] for row in ROWS]
    path.write_text("\n".join(",".join(fields) for fields in [list(ROWS[0]), *lines]))


def _tsv(path):
    _csv(path)
    path.write_text(path.read_text().replace(",", "\t"))


def _parquet(path):
    pq.write_table(pa.Table.from_pylist(ROWS), path)


@pytest.mark.parametrize(
    ("name", "write", "w"),
    [
        ("x.jsonl", _jsonl, 3),
        ("x.NDJSON", _jsonl, 3),
        ("deep/er/x.csv", _csv, "3"),
        ("x.tsv", _tsv, "3"),
        ("x.parquet", _parquet, 3),
    ],
)
def test_lists_of_every_format(lake, urls, name, write, w):
    """One row for each URL, in byte order, with its words; the other columns are metadata."""
    (lake / name).parent.mkdir(parents=True, exist_ok=True)
    write(lake / name)
    config = urls(url_column="URL", caption_column="TEXT", license_column="LICENSE")

    first, second = UrlSource(config).entries(START)

    assert (first.key, first.alt_text, first.license) == (b"http://a.org/1", "one", "?")
    assert (second.key, second.alt_text, second.license) == (b"http://b.org/2", "two", "cc0")
    assert json.loads(second.metadata or "") == {"w": w}


def test_a_text_file_is_a_list(lake, urls):
    """A URL a line, without any words; what is no list by its name is left out and counted."""
    write_lines(lake, "http://b.org/", "", " http://a.org/ ")
    write_lines(lake, "not a URL", name="README.md")
    write_lines(lake, "not a URL either", name="csv")
    source = UrlSource(urls())

    entries = list(source.entries(START))

    assert [entry.key for entry in entries] == [b"http://a.org/", b"http://b.org/"]
    assert {entry.metadata for entry in entries} == {None}
    assert source.skipped == {"files that are no lists": 2}


def test_a_url_is_one_row(lake, urls):
    """However often it is listed and however it is written; the first place has the word."""
    write_lines(lake, '{"url": "HTTP://A.org/x#1", "c": "first"}', name="1.jsonl")
    write_lines(
        lake,
        '{"url": "http://a.org/x", "c": "second"}',
        '{"url": "http://a.org/X", "c": "another"}',
        '{"url": null}',
        '{"c": "no url"}',
        '{"url": 3}',
        name="2.jsonl",
    )
    source = UrlSource(urls(caption_column="c"))

    entries = {entry.key: entry.alt_text for entry in source.entries(START)}

    assert entries == {b"http://a.org/x": "first", b"http://a.org/X": "another"}
    assert source.skipped == {"URLs that are listed before": 1, "rows without a URL": 3}


def test_hostile_urls_are_rows_too(lake, urls, dataset, ingest, rows):
    """Half characters, controls and quotes come back as they were; megabytes do not come at all."""
    names = ["\ud800", "http://x\ud800.org/", "http://x.org/\n\0'\"<>", "%FF", "a", "\u00e9"]
    lines = [{"url": name} for name in [*names, "data:image/png;base64," + "A" * 9000]]
    write_lines(lake, *map(json.dumps, lines), name="x.jsonl")
    source = UrlSource(urls())

    keys = [entry.key.decode("utf-8", "surrogatepass") for entry in source.entries(START)]
    ingest(dataset, urls())

    assert sorted(keys) == sorted(names)
    assert source.skipped == {"URLs longer than 8000 characters": 1}
    assert {code_of(row) for row in rows(dataset).values()} == {"bad_url"}
    assert len(rows(dataset)) == 6
    assert ingest(dataset, urls()) == []


def test_a_column_that_is_not_there_is_refused(lake, urls):
    """The list and the key of the pipeline file are named."""
    write_lines(lake, "link,text", "http://a.org/,a", name="x.csv")

    with pytest.raises(Exception, match=r"x.csv, line 1: source.url_column names 'url'"):
        list(UrlSource(urls()).entries(START))


def test_shards_are_planned_with_an_expected_size(lake, urls, dataset):
    """Sizes are not known before the download; two of the expected ones fill a shard."""
    write_lines(lake, "http://a.org/", "http://b.org/", "no URL", "nor this", "http://c.org/")
    limit = dataset.info.max_shard_bytes
    config = urls(expected_bytes=limit // 2, max_file_bytes=limit)
    list(freeze_lists(dataset, config))

    shards = dataset.read_list(0, 0, ["shard", "num_bytes"])

    assert shards["shard"].to_pylist() == [0, 0, 1, 1, 1]
    assert shards["num_bytes"].null_count == 5


def test_paths_travel_as_absolute_ones(urls, tmp_path, monkeypatch):
    """The lists' folders and the file of authorities: a worker may stand elsewhere."""
    monkeypatch.chdir(tmp_path)
    config = urls({"ca_file": "ca.pem"}, roots=("lists", "s3://bucket/lists")).located()

    assert config.roots == (str(tmp_path / "lists"), "s3://bucket/lists")
    assert config.download.ca_file == str(tmp_path / "ca.pem")
    assert urls().located() == urls()


def test_no_secret_is_stored(lake, urls, dataset, ingest, rows):
    """Credentials in a URL make it a row with an error, and are in no file of the dataset."""
    write_lines(lake, "https://me:hunter2@a.org/x.png")

    ingest(dataset, urls())

    (row,) = rows(dataset).values()
    assert row["source_key"] == "https://***@a.org/x.png"
    assert row["source_error"] == "bad_url: the URL cannot be asked for: credentials in it"
    assert not [f for f in dataset.store.files("") if b"hunter2" in dataset.store.read(f)]


# Reading ---------------------------------------------------------------------------------------


def test_files_become_rows(web, lake, urls, dataset, ingest, rows):
    """Bytes, words and address; whatever is no image is for the stages to say."""
    svg = b"<svg xmlns='http://www.w3.org/2000/svg'><title>html</title></svg>"
    web.routes.update({"/a.png": give(IMAGE), "/b.svg": give(svg), "/c": give(b"")})
    lines = [{"url": web.url(path), "c": path} for path in web.routes]
    write_lines(lake, *map(json.dumps, lines), name="x.jsonl")

    ingest(dataset, urls(caption_column="c"))

    found = rows(dataset)
    assert [row["image_bytes"] for row in found.values()] == [IMAGE, svg, b""]
    assert [row["alt_text"] for row in found.values()] == ["/a.png", "/b.svg", "/c"]
    assert {code_of(row) for row in found.values()} == {""}
    assert [row["source_uri"] for row in found.values()] == [line["url"] for line in lines]


@pytest.mark.parametrize(
    "page",
    [
        b"<!DOCTYPE html><title>Log in</title>",
        b"\xef\xbb\xbf\r\n  <HTML lang=en>",
        b"<?xml version='1.0'?><!DOCTYPE html PUBLIC>",
        gzip.compress(b"<html>"),
    ],
    ids=["html", "marked", "xhtml", "encoded"],
)
def test_a_page_instead_of_a_file(web, lake, urls, dataset, ingest, rows, page):
    """Its bytes tell, not its type; it is a row with a clear reason, and nothing of it is kept."""
    headers = ["Content-Type: image/png"]
    web.routes["/a.png"] = give(page, *headers, *["Content-Encoding: gzip"] * (page[:1] == b"\x1f"))
    write_lines(lake, web.url("/a.png"))

    ingest(dataset, urls())

    (row,) = rows(dataset).values()
    assert row["source_error"] == "web_page: an HTML page came in place of a file"
    assert row["image_bytes"] is row["content_sha256"] is None


def test_every_failure_is_a_row(web, lake, urls, dataset, ingest, rows):
    """Beside one good file; the shard is whole."""
    web.routes.update(
        {
            "/good": give(IMAGE),
            "/no": give(IMAGE, "X-Robots-Tag: noai"),
            "/large": give(bytes(101)),
            "/in": give(b"", "Location: http://169.254.169.254/", status="302 Found"),
            "/later": give(b"", status="503 Busy"),
        }
    )
    write_lines(lake, *(web.url(path) for path in [*web.routes, "/gone"]), "ftp://a.org/", "what")

    ingest(dataset, urls(max_file_bytes=100))

    found = {key.rpartition("/")[2] or key: code_of(row) for key, row in rows(dataset).items()}
    assert found == {
        "good": "",
        "no": "opted_out",
        "large": "too_large",
        "in": "forbidden_address",
        "later": "unavailable",
        "gone": "not_found",
        "ftp://a.org/": "bad_url",
        "what": "bad_url",
    }


# Again -----------------------------------------------------------------------------------------


def test_only_passing_failures_are_listed_again(web, lake, urls, dataset, ingest, lines, rows):
    """Until they are there; what came and what never will is not asked for again."""

    def third_time(request, wire):
        wire.answer(IMAGE, status="200 OK" if request.number == 3 else "500 Oops")

    web.routes.update({"/a": give(IMAGE), "/b": third_time, "/d": give(b"", status="403 No")})
    write_lines(lake, *(web.url(path) for path in "/a /b /c /d".split()))
    for _ in range(4):
        ingest(dataset, urls())

    assert [[key[-2:] for rows in lines(dataset, n) for key, _ in rows] for n in range(3)] == [
        ["/a", "/b", "/c", "/d"],
        ["/b"],
        ["/b"],
    ]
    assert {kind for n in (1, 2) for rows in lines(dataset, n) for _, kind in rows} == {"changed"}
    assert len(dataset.ingests()) == 3
    assert rows(dataset)[web.url("/b")]["image_bytes"] == IMAGE
    assert web.asked == {"/a": 1, "/b": 3, "/c": 1, "/d": 1}


def test_a_row_that_is_not_made_yet_has_not_failed(web, lake, urls, dataset, ingest, lines):
    """While another driver still makes the shards, their URLs are not listed twice."""
    write_lines(lake, web.url("/a"))
    list(freeze_lists(dataset, urls()))

    list(freeze_lists(dataset, urls()))

    assert len(dataset.ingests()) == 1


def test_what_had_no_room_comes_with_the_next_ingests(web, lake, urls, dataset, ingest, rows):
    """Nothing is lost to the limit of a shard's memory, and nothing is fetched for naught twice."""
    web.routes.update({f"/{n}": give(bytes(40)) for n in range(9)})
    write_lines(lake, *(web.url(path) for path in web.routes))
    config = urls({"per_host": 1}, shard_bytes=100)

    ingest(dataset, config)
    first = [code_of(row) for row in rows(dataset).values()]
    ingest(dataset, config)
    ingest(dataset, config)

    assert sorted(first) == [""] * 6 + ["deferred"] * 3
    assert [row["image_bytes"] for row in rows(dataset).values()] == [bytes(40)] * 9


def test_new_words_are_taken_with_the_file(web, lake, urls, dataset, ingest, rows):
    """A caption that changed makes the line another one; a URL that went is no longer listed."""
    web.routes.update({"/a": give(IMAGE), "/b": give(IMAGE)})
    config = urls(caption_column="c", sync=True)
    lines = [{"url": web.url(path), "c": "old"} for path in web.routes]
    write_lines(lake, *map(json.dumps, lines), name="x.jsonl")
    ingest(dataset, config)
    write_lines(lake, json.dumps({**lines[0], "c": "new"}), name="x.jsonl")
    ingest(dataset, config)

    changes = dataset.read_list(1, 0, ["key", "change"]).to_pylist()
    assert [(row["key"][-2:], row["change"]) for row in changes] == [
        ("/a", "changed"),
        ("/b", "vanished"),
    ]
    assert rows(dataset)[web.url("/a")]["alt_text"] == "new"


def test_names_may_be_looked_up_elsewhere(web, lake, urls):
    """A source takes the look-up that the test gives it; redirects do not show in the address."""
    web.routes["/a"] = give(b"", f"Location: {web.url('/b?signed')}", status="302 Found")
    web.routes["/b?signed"] = give(IMAGE)
    url = web.url("/a", "a.example")
    write_lines(lake, url)
    source = UrlSource(urls(), lookup=lambda host: ["127.0.0.1"])
    (entry,) = source.entries(START)

    (taken,) = source.read([entry.to_line()])

    assert (taken.uri, taken.data) == (url, IMAGE)
