"""Another try at URLs, where nothing but images is there."""

import pytest

from curation.dataset import Dataset
from curation.ingest.make_shard import make_image_shard
from curation.ingest.tombstones import Tombstones
from curation.ingest.urls import UrlsConfig
from curation.ingest.work_list import freeze_lists, pending_shards, shard_rows
from curation.pipeline.retry import retry_transient
from curation.tables import to_parquet
from schemas.dataset import images_path
from tests.fakes.web import serve

DOWNLOAD = {
    "contact": "https://example.org/crawl",
    "host_delay_s": 0.0,
    "per_host": 1,
    "tries": 1,
    "allow_addresses": ["127.0.0.0/8"],
}


@pytest.fixture
def dataset(tmp_path):
    return Dataset.open_or_create(str(tmp_path / "dataset"))


@pytest.fixture
def urls(tmp_path):
    (tmp_path / "lists").mkdir()
    section = {"name": "web", "roots": (str(tmp_path / "lists"),), "shard_bytes": 50}
    return UrlsConfig.model_validate({**section, "download": DOWNLOAD})


def ingest(dataset, config):
    list(freeze_lists(dataset, config))
    for shard, (seq, number) in pending_shards(dataset).items():
        table = make_image_shard(shard_rows(dataset, shard, seq, number), config, Tombstones())
        dataset.store.put(images_path(shard), to_parquet(table))


def errors_of(dataset, shard):
    found = dataset.read_images(shard, ["source_error"])["source_error"].to_pylist()
    return [error and error.partition(":")[0] for error in found]


def second_time(request, wire):
    wire.answer(b"there", status="200 OK" if request.number > 1 else "503 Busy")


def test_urls_are_fetched_again_in_place(tmp_path, dataset, urls):
    """All but what its shard had no room for: that is for the next ingest."""
    with serve() as web:
        web.routes = {
            "/a": second_time,
            "/b": lambda request, wire: wire.answer(bytes(49)),
            "/c": lambda request, wire: wire.answer(bytes(49)),
        }
        (tmp_path / "lists" / "x.txt").write_text("\n".join(map(web.url, web.routes)))
        ingest(dataset, urls)
        before = errors_of(dataset, 0)
        cleared = retry_transient(dataset, urls, [])

    assert before.count("unavailable") == before.count("deferred") == before.count(None) == 1
    assert cleared == {"images": 1}
    assert errors_of(dataset, 0)[0] is None
    assert dataset.read_images(0)["image_bytes"][0].as_py() == b"there"


def test_another_source_is_left_alone(tmp_path, dataset, urls):
    """A pipeline reads the lines of its own source and no others: their kind may differ."""
    with serve() as web:
        web.routes["/a"] = second_time
        (tmp_path / "lists" / "x.txt").write_text(web.url("/a"))
        ingest(dataset, urls)
        other = urls.model_copy(update={"name": "other"})

        assert retry_transient(dataset, other, []) == {}
        assert errors_of(dataset, 0) == ["unavailable"]
        assert retry_transient(dataset, urls, []) == {"images": 1}
        assert errors_of(dataset, 0) == [None]
