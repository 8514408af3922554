"""What stages learnt of their weights: planned with, recorded, and held against every worker."""

import json

import pytest

from curation.dataset import Dataset
from curation.errors import ConfigError, DatasetError, HinderedError
from curation.inventory import applied_instances
from curation.pipeline.facts import facts_path, read_facts
from curation.weights import weights_digest
from tests.fakes.lake import image_bytes, make_lake, write_files
from tests.fakes.runs import Stages, find, make_session, read_instance, run, run_stages
from tests.fakes.stages import STAGES


@pytest.fixture
def lake(tmp_path):
    return make_lake(tmp_path / "lake", 3)


@pytest.fixture
def weights(tmp_path):
    """Three numbers."""
    path = tmp_path / "numbers.json"
    path.write_text("[1, 2, 3]")
    return path


@pytest.fixture
def stages(weights):
    return {"luma": {}, "weighed": {"weights": str(weights)}}


def test_what_was_learnt_is_recorded_with_the_pipeline(tmp_path, lake, stages, weights):
    """The stage, its configuration, where its weights lay, and the facts; of it alone."""
    digest = weights_digest(str(weights))
    run_stages(tmp_path / "data", lake, stages)

    found = json.loads((tmp_path / "data" / "pipelines" / "fake.facts.json").read_bytes())

    assert found == {
        "weighed": {
            "stage": "weighed",
            "config": {"scale": 1, "package": "", "endpoint": ""},
            "weights": {"numbers": str(weights)},
            "facts": {"dimension": 3, "weights": {"numbers": digest}},
        }
    }


def test_a_pipeline_without_weights_records_nothing(tmp_path, lake, stages):
    """Also one that has none any more."""
    run_stages(tmp_path / "data", lake, stages)
    run_stages(tmp_path / "data", lake, {"luma": {}, "double": {}})

    assert [p.name for p in (tmp_path / "data" / "pipelines").iterdir()] == ["fake.yaml"]


def test_the_meaning_is_that_of_the_content_and_not_of_the_place(tmp_path, lake, stages, weights):
    """Weights that were moved are the same; others in the same place are not."""
    session = run_stages(tmp_path / "data", lake, stages)
    before = find(session, "weighed").fingerprint
    moved = weights.rename(tmp_path / "moved.json")
    there = {**stages, "weighed": {"weights": str(moved)}}

    assert find(make_session(tmp_path / "data", lake, there), "weighed").fingerprint == before
    moved.write_text("[1, 2, 4]")
    assert find(make_session(tmp_path / "data", lake, there), "weighed").fingerprint != before


def test_the_stage_gets_the_weights_that_were_planned(tmp_path, lake, stages):
    """In the child process that runs its rows."""
    session = run_stages(tmp_path / "data", lake, stages)

    means = read_instance(session, "luma")["luma_mean"].to_pylist()
    vectors = read_instance(session, "weighed")["weighed_vector"].to_pylist()
    assert [v for v in vectors if v] == [[m + 1, m + 2, m + 3] for m in means if m is not None]


def test_without_the_weights_the_record_stands_in(tmp_path, lake, stages, weights):
    """For a plan, a snapshot, and for whoever reads the dataset."""
    session = run_stages(tmp_path / "data", lake, stages)
    before = find(session, "weighed").fingerprint
    weights.unlink()
    dataset = Dataset.open(str(tmp_path / "data"))

    session = make_session(tmp_path / "data", lake, stages)
    assert session.plan(dataset).tasks == ()
    assert find(session, "weighed").fingerprint == before
    read = {i.name: i for i in applied_instances(dataset, session.config, STAGES)}
    assert read["weighed"].fingerprint == before


def test_for_weights_that_are_here_and_wrong_the_record_does_not_stand_in(
    tmp_path, lake, stages, weights
):
    """They are refused before a worker meets them."""
    run_stages(tmp_path / "data", lake, stages)
    weights.unlink()
    weights.mkdir()

    with pytest.raises(ConfigError, match=r"^stages\.weighed: .*numbers\.json: holds no weights"):
        make_session(tmp_path / "data", lake, stages)


@pytest.mark.parametrize("changed", ["scale", "place", "stage"])
def test_without_the_weights_a_changed_pipeline_is_refused(
    tmp_path, lake, stages, weights, changed
):
    """The record is of another configuration, so it may not be true of this one."""
    run_stages(tmp_path / "data", lake, stages)
    weights.unlink()
    pipelines: dict[str, Stages] = {
        "scale": {"weighed": {"weights": str(weights), "scale": 2}},
        "place": {"weighed": {"weights": f"{weights}.old"}},
        "stage": {"renamed": {"stage": "weighed", "weights": str(weights)}},
    }

    with pytest.raises(ConfigError, match=r"^stages\.(weighed|renamed): .*no such file or folder"):
        make_session(tmp_path / "data", lake, {"luma": {}, **pipelines[changed]})


def test_without_weights_and_record_a_run_touches_nothing(tmp_path, lake, stages, weights):
    """It is refused when the pipeline is read."""
    weights.unlink()

    with pytest.raises(ConfigError, match=r"^stages\.weighed: .*numbers\.json: no such file"):
        make_session(tmp_path / "data", lake, stages)

    assert not (tmp_path / "data").exists()


def test_a_reader_does_not_mind_where_the_weights_lay(tmp_path, lake, stages, weights, monkeypatch):
    """The pipeline names them below a folder that the reader has not."""
    monkeypatch.chdir(tmp_path)
    stages = {"luma": {}, "weighed": {"weights": "numbers.json"}}
    session = run_stages(tmp_path / "data", lake, stages)
    before = find(session, "weighed").fingerprint
    dataset = Dataset.open(str(tmp_path / "data"))
    weights.unlink()
    monkeypatch.chdir("/")

    read = {i.name: i for i in applied_instances(dataset, session.config, STAGES)}
    assert read["weighed"].fingerprint == before


def test_a_reader_takes_nothing_from_the_record_of_another_file(tmp_path, lake, stages):
    """Somebody put another pipeline under its name; with the weights, it is looked at anew."""
    session = run_stages(tmp_path / "data", lake, stages)
    dataset = Dataset.open(str(tmp_path / "data"))
    facts = read_facts(dataset, "fake")
    facts["weighed"]["config"]["scale"] = 3
    facts["weighed"]["facts"] = {"dimension": 9, "weights": {"numbers": "0" * 32}}
    dataset.store.put(facts_path("fake"), json.dumps(facts).encode())

    read = {i.name: i for i in applied_instances(dataset, session.config, STAGES)}

    assert read["weighed"].facts["dimension"] == 3


SPOILT = [b"", b"[]", b"{", b'{"weighed": {}}', b'{"weighed": 1}', b"\xff"]


@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_spoilt_record_is_said(tmp_path, spoilt):
    """It is no record of anything."""
    dataset = Dataset.open_or_create(str(tmp_path))
    dataset.store.put(facts_path("fake"), spoilt)

    with pytest.raises(DatasetError, match=r"fake\.facts\.json: is not what a run wrote there"):
        read_facts(dataset, "fake")


@pytest.mark.slow
def test_a_worker_with_other_weights_is_refused(tmp_path, lake, stages, weights):
    """Nobody is charged: the run ends with the sentence, and goes on once they are mended."""
    session = make_session(tmp_path / "data", lake, stages)
    weights.write_text("[9, 9, 9]")  # since the plan

    with pytest.raises(HinderedError, match="weighed cannot be set up: .*these are other weights"):
        run(session)

    dataset = Dataset.open(str(tmp_path / "data"))
    assert dataset.image_shards()
    assert dataset.store.files("quarantine") == []
    weights.write_text("[1, 2, 3]")
    assert run(session).complete


@pytest.mark.slow
def test_weights_that_go_during_a_run_are_looked_at_once(tmp_path, lake, stages, weights):
    """A later wave does not plan anew; what is missing then is the worker's to say."""
    session = run_stages(tmp_path / "data", lake, stages)
    write_files(lake, [("more.png", image_bytes("more.png"))])
    weights.unlink()

    with pytest.raises(HinderedError, match="weighed cannot be set up: .*no such file"):
        run(session)
