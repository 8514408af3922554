"""What is computed does not depend on how: fusion, workers, shard sizes, ingests, storage."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from curation.dataset import Dataset
from curation.pipeline.blocks import current_blocks, shard_set
from curation.pipeline.relation import read_relation
from tests.fakes.lake import image_bytes, image_keys, write_files
from tests.fakes.runs import (
    files_of,
    find,
    make_session,
    read_images,
    read_instance,
    run,
    run_stages,
)

PER_RUN = ("runs", "dataset.json")
"""What differs between two runs of the same: when, and the id that is drawn."""

DECIDED_BY_ROWS = ("luma", "small", "double", "heavy", "bad", "echo")


def outputs(folder, *, without=()):
    """Return everything that stages wrote below a dataset's folder."""
    return files_of(folder, without=(*PER_RUN, "pipelines", *without))


def data_of(session):
    return Path(session.config.dataset)


def values(session, name):
    """Return image_id -> what an instance says of it."""
    table = read_instance(session, name)
    columns = [column for column in table.column_names if column.startswith(f"{name}_")]
    ids = table["image_id"].to_pylist()
    assert len(set(ids)) == len(ids)
    return dict(zip(ids, table.select(columns).to_pylist(), strict=True))


def groups(session):
    """Return image_id -> group, for the set of shards that there is now."""
    dataset = Dataset.open(session.config.dataset)
    instances = {instance.name: instance for instance in session.instances(dataset)}
    twins = instances["twins"]
    name = shard_set(current_blocks(dataset, twins, instances))
    tables = [
        read_relation(dataset, "twins", twins.fingerprint, name, shard)
        for shard in dataset.image_shards()
    ]
    table = pa.concat_tables(tables)
    return dict(zip(table["image_id"].to_pylist(), table["twins_group"].to_pylist(), strict=True))


def test_the_lake_holds_what_it_should(reference):
    """The comparisons below are about something: values, errors and a pair of twins."""
    luma = read_instance(reference, "luma")
    errors = Counter(text.split(":")[0] for text in luma["luma_error"].drop_null().to_pylist())

    assert len(luma) == 60
    assert errors == {"empty": 1, "truncated": 1}
    assert pc.count_distinct(luma["luma_mean"]).as_py() > 30
    assert set(read_instance(reference, "middle")["middle_above"].to_pylist()) == {
        True,
        False,
        None,
    }
    assert read_instance(reference, "bad")["bad_error"].to_pylist().count("crashed: SIGSEGV") == 1
    assert Counter(Counter(groups(reference).values()).values()) == {1: 58, 2: 1}


def test_each_stage_alone_gives_the_bytes_of_all_fused(reference, tmp_path, lake, all_stages):
    """One pipeline that grows by one stage a run writes what one run of all writes."""
    stages = {}
    for name, settings in all_stages.items():
        stages[name] = settings
        session = run_stages(tmp_path / "data", lake, stages)

    assert outputs(data_of(session)) == outputs(data_of(reference))


def test_two_workers_give_the_bytes_of_one(reference, tmp_path, lake, all_stages):
    """Which worker took which shard, and in which order, is seen nowhere."""
    session = run_stages(tmp_path / "data", lake, all_stages, workers=2)

    assert outputs(data_of(session)) == outputs(data_of(reference))


def test_one_list_gives_the_shards_of_many(reference, tmp_path, lake):
    """How many shards a list holds changes no shard."""
    session = run_stages(tmp_path / "data", lake, {"luma": {}}, source={"list_shards": 4})

    found = outputs(data_of(session), without=("ingest",))
    expected = outputs(data_of(reference))
    assert found
    assert found == {name: expected[name] for name in found}


def test_the_shard_size_changes_no_decision(reference, tmp_path, lake, all_stages):
    """Shards of 64 rows say of every image what shards of 10 say."""
    session = run_stages(tmp_path / "data", lake, all_stages, max_shard_rows=64)

    assert Dataset.open(session.config.dataset).image_shards() == [0]
    for name in (*DECIDED_BY_ROWS, "middle"):
        assert values(session, name) == values(reference, name), name
    assert find(session, "middle").artifact == find(reference, "middle").artifact
    assert groups(session) == groups(reference)


def test_two_ingests_give_the_rows_of_one(reference, tmp_path, lake, all_stages):
    """Rows say the same whenever they came; only the shards' numbers tell.

    The fitted stage is left out: it keeps the model of the first ingest, as it should.
    """
    stages = {name: all_stages[name] for name in (*DECIDED_BY_ROWS, "twins")}
    files = {path.relative_to(lake).as_posix(): path.read_bytes() for path in files_below(lake)}
    half = {key: data for key, data in files.items() if hash_of(key) % 2}
    assert 15 < len(half) < 45
    moved = tmp_path / "moved"
    write_files(moved, half.items())
    run_stages(tmp_path / "data", moved, stages)
    write_files(moved, ((key, data) for key, data in files.items() if key not in half))

    session = run_stages(tmp_path / "data", moved, stages)

    assert len(Dataset.open(session.config.dataset).ingests()) == 2
    for name in DECIDED_BY_ROWS:
        assert values(session, name) == values(reference, name), name
    assert groups(session) == groups(reference)


def files_below(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def hash_of(key):
    return sum(key.encode())


def test_one_more_ingest_touches_nothing_old(tmp_path, lake, all_stages):
    """New shards bring new files; no old file is written again, not even with the same bytes."""
    grown = tmp_path / "grown"
    write_files(grown, [(key, image_bytes(key)) for key in image_keys(20)])
    session = run_stages(tmp_path / "data", grown, all_stages)
    before = {path: path.stat() for path in files_below(tmp_path / "data")}
    contents = files_of(tmp_path / "data")
    write_files(grown, [(f"e/{n}.png", image_bytes(f"{n}.png")) for n in range(5)])

    summary = run(make_session(tmp_path / "data", grown, all_stages))

    assert summary.complete
    assert {name: step.rows for name, step in summary.steps.items() if name != "twins"} == (
        dict.fromkeys(["images", *(name for name in all_stages if name != "twins")], 5)
    )
    for path, stat in before.items():
        now = path.stat()
        assert (now.st_mtime_ns, now.st_ino) == (stat.st_mtime_ns, stat.st_ino), path
    after = files_of(tmp_path / "data")
    assert {name: after[name] for name in contents} == contents
    assert len(read_instance(session, "luma")) == 25


def test_images_left_in_place_give_the_same_outputs(reference, tmp_path, lake, all_stages):
    """`store: reference` reads the originals again and sees the same pixels."""
    session = run_stages(tmp_path / "data", lake, all_stages, source={"store": "reference"})

    assert read_images(session, ["image_bytes"])["image_bytes"].null_count == 60
    apart = ("images", "ingest")
    assert outputs(data_of(session), without=apart) == outputs(data_of(reference), without=apart)


def test_a_moved_lake_gives_the_same_outputs(reference, tmp_path, lake, all_stages):
    """Under another root, the source's name and the keys make the same images of it."""
    moved = tmp_path / "moved"
    write_files(
        moved,
        ((path.relative_to(lake).as_posix(), path.read_bytes()) for path in files_below(lake)),
    )

    session = run_stages(tmp_path / "data", moved, all_stages)

    apart = ("images", "ingest")
    assert outputs(data_of(session), without=apart) == outputs(data_of(reference), without=apart)
    assert values_of_images(session) == values_of_images(reference)


def values_of_images(session):
    table = read_images(session)
    return table.drop_columns(["source_uri"]).to_pylist()


def test_rows_are_conserved(reference, all_stages):
    """Every listed file is one row of images and of every stage, shard by shard, in order."""
    dataset = Dataset.open(reference.config.dataset)
    listed = [
        (row["shard"], row["row"], row["key"])
        for state in dataset.ingests()
        for number in state.lists
        for row in dataset.read_list(state.seq, number).to_pylist()
    ]
    assert len(listed) == len(set(listed)) == 60
    images = read_images(reference, ["shard", "row", "source_key", "image_id"])
    taken = [images[name].to_pylist() for name in ("shard", "row", "source_key")]
    assert list(zip(*taken, strict=True)) == listed
    for name in all_stages:
        if name != "twins":
            for shard in dataset.image_shards():
                fingerprint = find(reference, name).fingerprint
                table = dataset.read_instance(name, fingerprint, shard)
                identity = dataset.read_images(shard, ["shard", "row", "image_id"])
                assert table.select(["shard", "row", "image_id"]).equals(identity), (name, shard)
    assert list(groups(reference)) == images["image_id"].to_pylist()


def test_a_row_has_values_or_a_reason(reference, all_stages):
    """Never both, never neither; and never a NaN."""
    for name in all_stages:
        if name != "twins":
            table = read_instance(reference, name)
            column = next(c for c in table.column_names[3:] if not c.endswith("_error"))
            missing = table[column].is_null()
            assert missing.equals(table[f"{name}_error"].is_valid()), name
