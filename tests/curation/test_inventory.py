"""What lies in a dataset."""

import pytest

from curation.errors import ConfigError
from curation.inventory import take_inventory
from schemas import dataset as layout
from tests.curation.relation_dataset import RELATION_REGISTRY, add_relation
from tests.curation.small_dataset import PIPELINE, REGISTRY, make_small_dataset


@pytest.mark.parametrize("scheme", ["", "memory://inventory"])
def test_counts_shards_rows_instances_and_bytes(tmp_path, scheme):
    """Every number is found by listing."""
    dataset = make_small_dataset(f"{scheme}{tmp_path}/small")

    found = take_inventory(dataset, REGISTRY)

    assert (found.num_shards, found.num_listed_shards, found.num_rows) == (3, 3, 12)
    assert [(s.instance, s.finished, s.missing) for s in found.instances] == [
        ("size", 3, 0),
        ("score", 2, 1),
    ]
    assert found.snapshots == ("0123456789abcdef",)
    assert found.unused == ()
    assert set(found.num_bytes) == {
        *("dataset.json", "images", "ingest", "pipelines", "score", "size", "snapshots"),
    }
    assert all(size > 0 for size in found.num_bytes.values())


def test_an_instance_of_two_pipelines_stands_once(tmp_path):
    """The same fingerprint is the same instance; another configuration is another one."""
    dataset = make_small_dataset(tmp_path / "small")
    text = PIPELINE.format(url=dataset.store.url).replace("scale: 2", "scale: 3")
    dataset.store.put("pipelines/other.yaml", text.replace("name: small", "name: other").encode())

    states = take_inventory(dataset, REGISTRY).instances

    assert [(s.instance, s.pipelines, s.missing) for s in states] == [
        ("size", ("other", "small"), 0),
        ("score", ("other",), 3),
        ("score", ("small",), 1),
    ]


def test_folders_that_no_pipeline_reads_are_named(tmp_path):
    """What a changed configuration left behind can be found."""
    dataset = make_small_dataset(tmp_path / "small")
    dataset.store.put("score/00000000deadbeef/00000/shard-00000000.parquet", b"")

    assert take_inventory(dataset, REGISTRY).unused == ("score/00000000deadbeef",)


def test_given_up_tasks_are_named_unless_their_file_came_after_all(tmp_path):
    """A shard file overrides its charge sheet."""
    dataset = make_small_dataset(tmp_path / "small")
    score = take_inventory(dataset, REGISTRY).instances[1]
    sheet = b'{"charges": [' + b",".join([b'{"code":"x","text":"","worker":""}'] * 3) + b"]}"
    for shard in (0, 2):
        name = f"shard-{shard:08d}"
        dataset.store.put(layout.quarantine_path("score", score.fingerprint, name), sheet)

    assert take_inventory(dataset, REGISTRY).instances[1].quarantined == ("shard-00000002",)


def test_a_relation_without_groups_of_all_shards_is_missing(tmp_path):
    """Groups of an older set of shards do not count as finished."""
    dataset = make_small_dataset(tmp_path / "small")
    add_relation(dataset, {"old": [0, 1]})

    dup = take_inventory(dataset, RELATION_REGISTRY).instances[-1]

    assert (dup.kind, dup.finished, dup.missing) == ("relation", 0, 3)


def test_a_pipeline_that_this_version_cannot_read_is_named(tmp_path):
    """The sentence says which file it is."""
    dataset = make_small_dataset(tmp_path / "small")
    dataset.store.put("pipelines/bad.yaml", b"name: bad\ndatasett: x\n")

    with pytest.raises(ConfigError, match=r"pipelines/bad.yaml: datasett: unknown key"):
        take_inventory(dataset, REGISTRY)
