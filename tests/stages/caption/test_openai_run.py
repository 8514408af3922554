"""Whole runs with captions from an endpoint that behaves badly."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from curation.dataset import Dataset
from curation.errors import HinderedError
from curation.pipeline.config import parse_pipeline
from curation.pipeline.local_runner import LocalRunner
from curation.pipeline.session import Session
from curation.sql import Tables, open_tables
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


def test_shards_in_flight_keep_the_queue_full(tmp_path):
    """One worker has the images of several shards with the server at once, and none twice."""

    def decide(asked):
        return "slow" if asked.is_real else "ok"

    with serve(decide, key="sk-never-on-disk") as fake:
        pipeline = session(tmp_path, fake, 40)
        summary = run(pipeline)

    assert summary.complete
    assert ends(pipeline) == ["ok"] * 40
    assert len(fake.real()) == 40
    assert fake.in_flight[1] > 10  # the rows of one shard


def test_the_queries_of_the_documentation_count_statuses_and_types(tmp_path):
    """All five statuses with one expression; the description's fields by their path."""
    bad = {1: "length", 2: "refusal", 3: "prose", 4: "400"}
    with serve(by_picture(bad), key="sk-never-on-disk") as fake:
        pipeline = session(tmp_path, fake, 6)
        run(pipeline)
    tables = open_tables(Dataset.open(str(tmp_path / "dataset")), STAGES)
    text = Path("docs/captions.md").read_text(encoding="utf-8")
    types, statuses = (
        _rows(tables, query) for query in re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    )

    assert sorted(types, key=lambda row: row[1]) == [("photograph", 2), (None, 4)]
    assert sorted(row[:3] for row in statuses) == [
        ("error", "rejected", 1),
        ("invalid_json", None, 1),
        ("ok", None, 2),
        ("refused", None, 1),
        ("truncated", None, 1),
    ]
    (spent,) = (row[3:] for row in statuses if row[0] == "ok")
    assert all(tokens > 50 for tokens in spent)


def _rows(tables: Tables, query: str) -> list[tuple[Any, ...]]:
    with tables.query(query) as result:
        return [tuple(row.values()) for batch in result.batches() for row in batch.to_pylist()]


@pytest.mark.parametrize("what", ["401", "drop_image"])
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
