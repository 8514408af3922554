"""Relations on disk: blocks named by content, edges kept for ever, groups for a set of shards."""

import hashlib

import numpy as np
import pyarrow as pa
import pytest

from curation.config import Config
from curation.dataset import Dataset
from curation.errors import ContractError, DatasetError, StorageError
from curation.pipeline import blocks
from curation.pipeline.blocks import current_blocks, read_block, shard_set
from curation.pipeline.config import PipelineConfig
from curation.pipeline.instances import resolve
from curation.pipeline.relation import (
    facts_path,
    has_groups,
    make_edges,
    make_groups,
    missing_edges,
    read_facts,
    read_relation,
    rows_path,
    run_edges,
    run_groups,
)
from curation.pipeline.stage import RelationStage, Stage, with_identity
from curation.tables import write_table
from schemas import dataset as layout
from schemas.columns import column, table
from schemas.images import IMAGES
from schemas.ingest_list import INGEST_LIST


class NoConfig(Config):
    """Nothing to configure."""


class ScaleStage(Stage[NoConfig]):
    """Writes a number; the tests write its files themselves."""

    name = "scale"
    config_type = NoConfig

    def reads(self):
        return ("images.num_bytes",)

    def writes(self):
        return table(
            "scale", column("value", pa.int64(), "A number."), column("error", pa.string(), "Why.")
        )

    def process(self, shard):
        raise NotImplementedError


class TwinStage(RelationStage[NoConfig]):
    """Links rows with the same value; a group is named by its smallest image_id."""

    name = "twin"
    config_type = NoConfig

    def reads(self):
        return ("images.content_sha256", "scale.value")

    def writes(self):
        return table("twin", column("first", pa.binary(16), "Smallest id.", logical="uuid"))

    def edge_schema(self):
        return table("twin_edges", column("value", pa.int64(), "The value that both have."))

    def edges(self, left, right):
        other = left if right is None else right
        values = set(left["scale.value"].to_pylist()) & set(other["scale.value"].to_pylist())
        return pa.table({"value": sorted(values)}, schema=self.edge_schema())

    def groups(self, rows, edges):
        linked = {value for table in edges for value in table["value"].to_pylist()}
        first: dict[int, bytes] = {}
        values = rows["scale.value"].to_pylist()
        for value, image_id in zip(values, rows["image_id"].to_pylist(), strict=True):
            first[value] = min(first.get(value, image_id), image_id)
        assert set(values) <= linked
        found = pa.table({"first": [first[value] for value in values]}, schema=self.writes())
        return found, {"num_values": len(first)}


class BrokenStage(TwinStage):
    """Forgets rows."""

    name = "broken"

    def groups(self, rows, edges):
        found, facts = super().groups(rows, edges)
        return found.slice(1), facts


REGISTRY = {"scale": ScaleStage, "twin": TwinStage, "broken": BrokenStage}


@pytest.fixture
def instances():
    config = PipelineConfig(
        name="test", dataset="x", stages={"scale": {}, "twin": {}, "broken": {}}
    )
    return {instance.name: instance for instance in resolve(config, REGISTRY)}


def add_shards(dataset, instances, seq, shards, num_rows=3, offset=0):
    """Write one ingest of `shards`, with the images' and the scale instance's files."""
    for shard in shards:
        ids = [hashlib.sha256(b"%d.%d" % (shard, n)).digest()[:16] for n in range(num_rows)]
        images = pa.table(
            {
                "shard": [shard] * num_rows,
                "row": range(num_rows),
                "image_id": ids,
                "content_sha256": [hashlib.sha256(i).digest() for i in ids],
            }
        )
        for field in IMAGES:
            if field.name not in images.column_names:
                images = images.append_column(field, pa.nulls(num_rows, field.type))
        images = images.select(IMAGES.names).cast(IMAGES)
        write_table(dataset.store, layout.images_path(shard), images)
        write_scale(dataset, instances, shard, [shard % 3 + n + offset for n in range(num_rows)])
    listed = pa.table({"shard": pa.array(list(shards), pa.int32())})
    for field in INGEST_LIST:
        if field.name != "shard":
            listed = listed.append_column(field, pa.nulls(len(listed), field.type))
    listed = listed.select(INGEST_LIST.names).cast(INGEST_LIST)
    write_table(dataset.store, layout.list_path(seq, 0), listed)
    dataset.store.put(layout.ingest_done_path(seq), b"{}")


def write_scale(dataset, instances, shard, values):
    images = dataset.read_images(shard, ["shard", "row", "image_id"])
    own = pa.table(
        {"value": values, "error": [None] * len(values)}, schema=ScaleStage(NoConfig()).writes()
    )
    path = layout.instance_path("scale", instances["scale"].fingerprint, shard)
    write_table(dataset.store, path, with_identity(images, own, "scale"))


@pytest.fixture
def dataset(tmp_path, instances):
    made = Dataset.open_or_create(str(tmp_path / "data"))
    add_shards(made, instances, 0, range(20))
    return made


def make_all(dataset, instances, parts, name="twin"):
    """Make what is missing; return the facts."""
    for left, right in missing_edges(dataset, instances[name], parts):
        make_edges(dataset, instances[name], instances, left, [right])
    return make_groups(dataset, instances[name], instances, parts)


def state(dataset, folder="relations"):
    """Return file -> (bytes, modification time, inode) below `folder`."""
    found = {}
    for name in dataset.store.files(folder):
        stat = dataset.store.local(name).stat()
        found[name] = (dataset.store.read(name), stat.st_mtime_ns, stat.st_ino)
    return found


def test_groups_follow_edges_and_are_complete_when_the_facts_are_there(dataset, instances):
    """Rows, facts and nothing half-done; a row's columns carry the instance's prefix."""
    twin = instances["twin"]
    parts = current_blocks(dataset, twin, instances)
    assert len(parts) == 2
    assert len(missing_edges(dataset, twin, parts)) == 3
    assert not has_groups(dataset, twin, parts)

    content = make_all(dataset, instances, parts)

    assert has_groups(dataset, twin, parts)
    assert missing_edges(dataset, twin, parts) == []
    name = shard_set(parts)
    assert read_facts(dataset, "twin", twin.fingerprint, name) == content
    assert content["num_rows"] == 60
    assert content["facts"] == {"num_values": 5}
    found = read_relation(dataset, "twin", twin.fingerprint, name, 17)
    assert found.schema.names == ["shard", "row", "image_id", "twin_first"]
    assert found["shard"].to_pylist() == [17] * 3
    assert found["row"].to_pylist() == [0, 1, 2]
    only = read_relation(dataset, "twin", twin.fingerprint, name, 17, ["twin_first"])
    assert only.column_names == ["twin_first"]
    assert only["twin_first"].to_pylist() == found["twin_first"].to_pylist()


def test_one_more_ingest_makes_only_its_own_edges(dataset, instances):
    """Old edge files are not touched, and the groups of the old shard set stay."""
    twin = instances["twin"]
    old = current_blocks(dataset, twin, instances)
    make_all(dataset, instances, old)
    before = state(dataset)

    add_shards(dataset, instances, 1, [20])
    parts = current_blocks(dataset, twin, instances)
    missing = missing_edges(dataset, twin, parts)
    make_all(dataset, instances, parts)

    assert parts[:2] == old
    assert missing == [(old[0], parts[2]), (old[1], parts[2]), (parts[2], parts[2])]
    after = state(dataset)
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 3 + 2


def test_doing_it_again_writes_the_same_bytes(dataset, instances):
    """Every step may be repeated, in any order and from either side."""
    twin = instances["twin"]
    parts = current_blocks(dataset, twin, instances)
    make_all(dataset, instances, parts)
    before = {name: content for name, (content, *_) in state(dataset).items()}

    assert make_edges(dataset, twin, instances, parts[1], [parts[1], parts[0]]) == 10
    assert make_edges(dataset, twin, instances, parts[0], [parts[1]]) == 5
    make_groups(dataset, twin, instances, parts[::-1])
    assert run_groups(dataset, twin, instances) == 60

    assert {name: content for name, (content, *_) in state(dataset).items()} == before


def test_a_task_compares_its_first_block_with_the_others(dataset, instances):
    """By the names that it carries; the block is read once."""
    twin = instances["twin"]
    parts = current_blocks(dataset, twin, instances)

    assert run_edges(dataset, twin, instances, [b.name for b in (parts[1], *parts)]) == 10

    assert missing_edges(dataset, twin, parts) == [(parts[0], parts[0])]


def test_a_second_try_leaves_the_pairs_of_the_first(dataset, instances):
    """A task that died half-way goes on where it was."""
    twin = instances["twin"]
    parts = current_blocks(dataset, twin, instances)
    make_edges(dataset, twin, instances, parts[1], [parts[0]])
    before = state(dataset)
    assert len(before) == 1

    names = [b.name for b in (parts[1], *parts)]
    assert run_edges(dataset, twin, instances, names) == 5
    assert run_edges(dataset, twin, instances, names) == 0

    after = state(dataset)
    assert {name: after[name] for name in before} == before
    assert len(after) == 2


def test_the_size_of_blocks_changes_no_group(dataset, instances, monkeypatch):
    """The same 20 shards in two blocks of 16 places or in one of 32."""
    answers = []
    for most in (64, 1):
        monkeypatch.setattr(blocks, "MAX_BLOCKS", most)
        parts = current_blocks(dataset, instances["twin"], instances)
        make_all(dataset, instances, parts)
        name = shard_set(parts)
        answers.append([read_one(dataset, instances, name, shard) for shard in range(20)])
        assert [block.num_places for block in parts] == ([16, 16] if most == 64 else [32])

    assert answers[0] == answers[1]


def read_one(dataset, instances, name, shard):
    return read_relation(dataset, "twin", instances["twin"].fingerprint, name, shard).to_pydict()


def test_a_shard_without_its_inputs_is_left_out(dataset, instances):
    """A quarantined shard has no file of the stage read: its rows have no groups."""
    twin = instances["twin"]
    path = layout.instance_path("scale", instances["scale"].fingerprint, 3)
    dataset.store.delete(path)

    parts = current_blocks(dataset, twin, instances)
    make_all(dataset, instances, parts)

    assert 3 not in parts[0].shards
    name = shard_set(parts)
    assert len(read_relation(dataset, "twin", twin.fingerprint, name, 3)) == 0
    assert len(read_relation(dataset, "twin", twin.fingerprint, name, 4)) == 3


def test_rewritten_values_make_other_blocks_and_are_not_taken_for_the_old_ones(dataset, instances):
    """A name promises content: reading a block whose files changed since is refused."""
    twin = instances["twin"]
    parts = current_blocks(dataset, twin, instances)
    write_scale(dataset, instances, 3, [8, 8, 8])

    with pytest.raises(StorageError, match="shards 0 to 15 were rewritten"):
        read_block(dataset, twin, instances, parts[0])
    changed = current_blocks(dataset, twin, instances)
    assert changed[0] != parts[0]
    assert changed[1] == parts[1]
    assert read_block(dataset, twin, instances, changed[0])["scale.value"].to_pylist()[9:12] == (
        [8, 8, 8]
    )


def test_groups_without_all_edges_are_refused(dataset, instances):
    """The sentence names the first file and how many are missing; nothing is written."""
    twin = instances["twin"]
    parts = current_blocks(dataset, twin, instances)
    make_edges(dataset, twin, instances, parts[0], [parts[0]])

    with pytest.raises(DatasetError, match="2 edge files of twin are missing"):
        make_groups(dataset, twin, instances, parts)
    assert not has_groups(dataset, twin, parts)


def test_a_stage_that_loses_rows_breaks_its_contract(dataset, instances):
    """One row out for each row in holds for relations too."""
    parts = current_blocks(dataset, instances["broken"], instances)

    with pytest.raises(ContractError, match="60 rows in, 59 rows out"):
        make_all(dataset, instances, parts, "broken")
    assert not has_groups(dataset, instances["broken"], parts)


def test_rows_are_kept_by_groups_of_a_thousand_shards(tmp_path, instances):
    """Shards 999 and 1000 lie in two files, and `relation.json` is beside them."""
    dataset = Dataset.open_or_create(str(tmp_path / "wide"))
    add_shards(dataset, instances, 0, range(998, 1002))
    twin = instances["twin"]
    parts = current_blocks(dataset, twin, instances)
    make_all(dataset, instances, parts)

    name = shard_set(parts)
    for group, shards in ((0, [998, 999]), (1, [1000, 1001])):
        path = rows_path("twin", twin.fingerprint, name, group)
        assert dataset.store.exists(path)
        for shard in shards:
            found = read_relation(dataset, "twin", twin.fingerprint, name, shard)
            assert np.unique(found["shard"].to_numpy()).tolist() == [shard]
    assert dataset.store.exists(facts_path("twin", twin.fingerprint, name))
