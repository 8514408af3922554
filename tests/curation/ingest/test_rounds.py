"""Whole ingests: the order and manner of arrival leave no trace in what is held."""

from curation.dataset import Dataset


def held(dataset):
    """Return (id, key, content, bytes) of every row, sorted."""
    names = ["image_id", "source_key", "content_sha256", "image_bytes"]
    return sorted(
        tuple(row.values())
        for shard in dataset.image_shards()
        for row in dataset.read_images(shard, names).to_pylist()
    )


def test_two_ingests_hold_what_one_does(lake, write, dataset, source, ingest, tmp_path):
    """Half of the files and then all of them, or all of them at once: the same rows."""
    files = {b"d%d/f%d" % (n % 3, n): b"content %d" % n for n in range(20)}
    write(lake, dict(list(files.items())[::2]))
    ingest(dataset, source)
    write(lake, files)
    ingest(dataset, source)
    once = Dataset.open_or_create(str(tmp_path / "once"), max_shard_rows=7)
    ingest(once, source)

    assert len(held(once)) == 20
    assert held(dataset) == held(once)


def test_names_in_any_bytes_survive_ingests(lake, write, dataset, source, ingest, lines):
    """Raw bytes give the order, though their text sorts otherwise."""
    names = [b"A", b"a%", b"a.b", b"a/b", b"b\xc3\xa9", b"b\xe9", b"b\xff/c", b"b\xff0"]
    write(lake, {name: name for name in names})
    ingest(dataset, source)
    write(lake, {b"b\xe9": b"longer", b"a%": b"longer", b"b\xff/d": b"new"})
    ingest(dataset, source)

    first = [key for rows in lines(dataset, 0) for key, _ in rows]
    assert first == ["A", "a%25", "a.b", "a/b", "bé", "b%E9", "b%FF/c", "b%FF0"]
    assert lines(dataset, 1)[0] == [
        ("a%25", "changed"),
        ("b%E9", "changed"),
        ("b%FF/d", "new"),
    ]
    assert ingest(dataset, source) == []


def test_everything_may_be_on_a_store(memory, lake, write, dataset, source, ingest):
    """Source and dataset in a store hold what local ones hold."""
    files = {b"d%d/f%d" % (n % 3, n): b"content %d" % n for n in range(8)}
    write(lake, files)
    for key, data in files.items():
        memory.pipe_file(f"/bucket/lake/{key.decode()}", data)
    remote = Dataset.open_or_create("memory://bucket/ds", max_shard_rows=3)
    there = source.model_copy(update={"roots": ("memory://bucket/lake",)})

    assert ingest(dataset, source) == ingest(remote, there) == [0, 1, 2]
    assert held(remote) == held(dataset)
    assert ingest(remote, there) == []

    memory.pipe_file("/bucket/lake/d0/f0", b"changed")
    assert ingest(remote, there) == [3]
