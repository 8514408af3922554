"""Another try at rows with passing errors, in a dataset that several pipelines were applied to."""

from pathlib import Path

import pyarrow as pa
import pytest

from curation import storage
from curation.dataset import Dataset
from curation.forget import Request, erase
from curation.forget import find as find_forgotten
from curation.ingest.withhold import withhold
from curation.pipeline.retry import retry_transient
from curation.tables import write_table
from schemas import dataset as layout
from schemas.error_codes import row_error
from schemas.images import IMAGES
from tests.fakes.inline_runner import InlineRunner
from tests.fakes.lake import make_lake
from tests.fakes.runs import Stages, files_of, find, make_session
from tests.fakes.stages import STAGES

TODAY: Stages = {"luma": {}, "double": {}, "bad": {}}
BEFORE: Stages = {"luma": {"size_px": 8}, "double": {}, "heavy": {}}
FAST: Stages = {"luma": {}, "triple": {"stage": "double", "factor": 3}}


@pytest.fixture
def lake(tmp_path):
    return make_lake(tmp_path / "lake", 7)


@pytest.fixture
def apply(tmp_path, lake):
    """Apply a pipeline to one and the same dataset; return its session."""

    def make(stages, folder="data"):
        session = make_session(tmp_path / folder, lake, stages, max_shard_rows=4)
        assert session.run(InlineRunner, runner_name="inline").complete
        return session

    return make


def fail_image(dataset, shard, row):
    """Make an image look as if the source had been away when it was taken in."""
    images = dataset.read_images(shard)
    values = images.to_pylist()
    nothing = dict.fromkeys(("image_bytes", "content_sha256", "num_bytes"))
    values[row] |= nothing | {"image_id": b"\x00" * 16, "source_error": row_error("unavailable")}
    write_table(dataset.store, layout.images_path(shard), pa.Table.from_pylist(values, IMAGES))


def fail_row(session, name, shard, row):
    """Make a row of an instance a time-out."""
    dataset = Dataset.open(session.config.dataset)
    fingerprint = find(session, name).fingerprint
    table = dataset.read_instance(name, fingerprint, shard)
    values = table.to_pylist()
    values[row][f"{name}_error"] = row_error("timeout", seconds=1)
    path = layout.instance_path(name, fingerprint, shard)
    write_table(dataset.store, path, pa.Table.from_pylist(values, table.schema))


def retry(session):
    dataset = Dataset.open(session.config.dataset)
    return retry_transient(dataset, session.source, session.instances(dataset))


def shards_of(session):
    """Return (instance, fingerprint) -> shards, for every folder of the dataset."""
    dataset = Dataset.open(session.config.dataset)
    return {
        (name, fingerprint): dataset.instance_shards(name, fingerprint)
        for name in dataset.store.names("")
        if name not in layout.RESERVED_NAMES and "." not in name
        for fingerprint in dataset.store.names(name)
    }


def test_an_image_read_again_costs_every_folder_that_shard(apply):
    """Also those of pipelines and fingerprints that are not in use now; then all is as if new."""
    session = apply({})
    dataset = Dataset.open(session.config.dataset)
    fail_image(dataset, 1, 2)
    for stages in (BEFORE, FAST, TODAY):
        session = apply(stages)
    assert len(shards_of(session)) == 7

    assert retry(session) == {"images": 1}

    assert all(shards == [0, 2] for shards in shards_of(session).values())
    assert dataset.read_images(1, ["source_error"])["source_error"].null_count == 4
    for stages in (BEFORE, FAST, TODAY):
        apply(stages)
        apply(stages, "fresh")
    apart = ("runs", "dataset.json", "ingest")
    folder = Path(session.config.dataset)
    assert files_of(folder, without=apart) == files_of(folder.with_name("fresh"), without=apart)


def test_a_row_of_an_instance_costs_what_was_computed_from_it(apply):
    """Readers in every pipeline; not the same stage under another configuration."""
    session = apply(BEFORE)
    other = [(name, find(session, name).fingerprint) for name in BEFORE]
    session = apply(FAST)
    triple = ("triple", find(session, "triple").fingerprint)
    session = apply(TODAY)
    fail_row(session, "luma", 1, 0)

    assert retry(session) == {"luma": 1}

    found = shards_of(session)
    concerned = {triple, *((n, find(session, n).fingerprint) for n in ("luma", "double"))}
    assert {place for place, shards in found.items() if shards == [0, 2]} == concerned
    assert all(found[place] == [0, 1, 2] for place in other)
    assert found["bad", find(session, "bad").fingerprint] == [0, 1, 2]


def test_a_folder_without_lineage_may_have_read_anything(apply):
    """Where nobody knows, the shard is made again."""
    session = apply(TODAY)
    dataset = Dataset.open(session.config.dataset)
    folder = layout.instance_folder("bad", find(session, "bad").fingerprint)
    dataset.store.put(f"{folder}/stage.json", b"{}")
    fail_row(session, "luma", 1, 0)

    retry(session)

    assert dataset.files.shards(folder) == [0, 2]


def test_images_of_another_source_are_left_to_it(apply, tmp_path):
    """Its files are not where this pipeline looks."""
    session = apply(TODAY)
    dataset = Dataset.open(session.config.dataset)
    fail_image(dataset, 1, 2)
    before = dataset.store.read(layout.images_path(1))
    pond = make_session(
        tmp_path / "data", make_lake(tmp_path / "pond", 1), TODAY, source={"name": "pond"}
    )

    assert retry(pond) == {}

    assert dataset.store.read(layout.images_path(1)) == before
    assert retry(session) == {"images": 1}


def test_lists_are_looked_up_once(apply, monkeypatch):
    """Not once for each shard that is read again."""
    session = apply({})
    dataset = Dataset.open(session.config.dataset)
    for shard in range(3):
        fail_image(dataset, shard, 0)
    calls: list[int] = []
    look = Dataset.listed_shards

    def listed_shards(self):
        calls.append(1)
        return look(self)

    monkeypatch.setattr(Dataset, "listed_shards", listed_shards)

    assert retry(session) == {"images": 3}
    assert calls == [1]


def test_nothing_to_retry_changes_nothing(apply, tmp_path):
    """Errors that do not pass are left alone."""
    session = apply(TODAY)
    before = files_of(tmp_path / "data")

    assert retry(session) == {}

    assert files_of(tmp_path / "data") == before


@pytest.mark.parametrize("when", ["read", "put"])
def test_what_is_forgotten_meanwhile_stays_forgotten(apply, monkeypatch, when):
    """Whether the tombstone comes after the source was read, or with the old shard in hand."""
    session = apply({"luma": {}})
    dataset = Dataset.open(session.config.dataset)
    victim = dataset.read_images(1).to_pylist()[0]
    fail_image(dataset, 1, 2)
    request = Request(contents=frozenset({victim["content_sha256"]}))
    waiting = [find_forgotten(dataset, request, STAGES)]

    def forget():
        if waiting:
            erase(dataset, waiting.pop(), "asked to", "", purge=False)

    def before_put(point, name):
        if point == "before" and name == layout.images_path(1):
            forget()

    def before_apply(images, tombstones):
        forget()
        return withhold(images, tombstones)

    if when == "put":
        monkeypatch.setattr(storage, "fault_hook", before_put)
    else:
        monkeypatch.setattr("curation.pipeline.retry.withhold", before_apply)

    assert retry(session) == {"images": 1}

    assert not waiting
    rows = dataset.read_images(1).to_pylist()
    assert rows[0]["image_bytes"] is None
    assert rows[0]["source_error"].startswith("forgotten:")
    assert rows[2]["image_bytes"] is not None
