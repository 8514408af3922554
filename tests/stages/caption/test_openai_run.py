"""Whole runs with captions from an endpoint that behaves badly."""

from pathlib import Path

import pytest
import yaml

from curation.dataset import Dataset
from curation.errors import HinderedError
from curation.pipeline.config import parse_pipeline
from curation.pipeline.local_runner import LocalRunner
from curation.pipeline.session import Session
from curation.sql import open_tables
from schemas.error_codes import error_code
from stages.registry import STAGES
from tests.fakes.openai_server import FakeOpenAI, serve
from tests.fakes.runs import read_instance
from tests.stages.caption.endpoint_pictures import QUICK, by_picture, color_of, picture

pytestmark = pytest.mark.slow

ENDS = {
    "ok": "ok",
    "length": "truncated",
    "refusal": "refused",
    "prose": "invalid_json",
    "429": "rate_limited",
    "500": "service_failed",
    "cut": "service_failed",
    "hang": "timeout",
    "html": "bad_response",
    "not_json": "bad_response",
    "empty_choices": "bad_response",
    "400": "rejected",
    "403": "denied",
    "drop_image": "unseen",
}


def session(tmp_path: Path, fake: FakeOpenAI, num_pictures: int) -> Session:
    lake = tmp_path / "lake"
    lake.mkdir(exist_ok=True)
    for number in range(num_pictures):
        (lake / f"{number:03}.png").write_bytes(picture(number))
    stage = {
        "captioner": "openai",
        "model": "fake-vl",
        "revision": "1",
        "variants": ["short", "long"],
        "endpoint": {"url": fake.url, "api_key_env": "FAKE_KEY", **QUICK},
    }
    value = {
        "name": "captions",
        "dataset": str(tmp_path / "dataset"),
        "source": {"name": "lake", "kind": "folder", "roots": [str(lake)]},
        "stages": {"caption": stage},
        "run": {"max_shard_rows": 10, "workers": 1},
    }
    text = yaml.safe_dump(value, sort_keys=False)
    return Session(parse_pipeline(text, "captions.yaml"), text, STAGES)


def run(session: Session, *, retry_transient: bool = False):
    return session.run(LocalRunner, runner_name="local", retry_transient=retry_transient)


def ends(session: Session) -> list[str]:
    rows = read_instance(session, "caption").sort_by([("shard", "ascending"), ("row", "ascending")])
    return [row["caption_status"] or error_code(row["caption_error"]) for row in rows.to_pylist()]


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("FAKE_KEY", "sk-never-on-disk")


def test_a_run_ends_whatever_the_server_does_to_some_images(tmp_path):
    """Each image has its end; a retry heals those that may pass; the key is in no file."""
    bad = dict(enumerate(ENDS))
    with serve(by_picture(bad), key="sk-never-on-disk") as fake:
        pipeline = session(tmp_path, fake, 25)
        summary = run(pipeline)
        first = ends(pipeline)
        asked = len(fake.real())
        again = run(pipeline)
        assert len(fake.real()) == asked  # nothing is due
        fake.decide = lambda asked: "ok"
        healed = run(pipeline, retry_transient=True)

    assert summary.complete, summary.lines()
    assert again.complete
    assert healed.complete
    assert first == [ENDS[bad[number]] if number in bad else "ok" for number in range(25)]
    transient = ("rate_limited", "service_failed", "timeout", "unseen")
    assert asked <= 25 + len(ENDS)
    shards_with_one = {number // 10 for number, end in enumerate(first) if end in transient}
    assert ends(pipeline) == [
        "ok" if number // 10 in shards_with_one else end for number, end in enumerate(first)
    ]
    for path in (tmp_path / "dataset").rglob("*"):
        assert not path.is_file() or b"sk-never-on-disk" not in path.read_bytes()


def test_statuses_are_counted_in_sql(tmp_path):
    """All five with one expression."""
    bad = {1: "length", 2: "refusal", 3: "prose", 4: "400"}
    with serve(by_picture(bad), key="sk-never-on-disk") as fake:
        pipeline = session(tmp_path, fake, 6)
        run(pipeline)
    tables = open_tables(Dataset.open(str(tmp_path / "dataset")), STAGES)
    query = (
        "SELECT coalesce(caption_status, 'error') AS status, count(*) AS images FROM caption "
        "GROUP BY ALL ORDER BY ALL"
    )
    with tables.query(query) as result:
        rows = [tuple(row.values()) for batch in result.batches() for row in batch.to_pylist()]
    assert rows == [("error", 1), ("invalid_json", 1), ("ok", 2), ("refused", 1), ("truncated", 1)]


@pytest.mark.parametrize("what", ["401", "500", "drop_image"])
def test_a_server_that_is_no_good_ends_the_run_with_a_sentence(tmp_path, what):
    """No row gets an error, and the next run goes on where this one could not."""
    with serve(lambda asked: what, key="sk-never-on-disk") as fake:
        pipeline = session(tmp_path, fake, 12)
        with pytest.raises(HinderedError, match=rf"caption cannot be set up: {fake.url}"):
            run(pipeline)
        fake.decide = lambda asked: "ok"
        summary = run(pipeline)

    assert summary.complete
    assert ends(pipeline) == ["ok"] * 12


def test_colors_tell_pictures_apart():
    """What the fake server goes by."""
    assert len({color_of(number) for number in range(512)}) == 512
