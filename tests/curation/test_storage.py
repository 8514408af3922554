"""Atomic writes, exclusive creation, and refusals in sentences that help."""

import errno
import os
import pickle
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import fsspec
import pytest

from curation import storage
from curation.errors import StorageError, UsageError
from curation.storage import Store

NOBODY = 65534


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "data"))


@pytest.fixture
def memory():
    """A store in memory, empty before and after."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    yield Store("memory://bucket/data")
    fs.store.clear()


@pytest.fixture
def fail_at(monkeypatch):
    """Make every commit fail with an `errno` at a point."""

    def fail(point: str, code: int) -> None:
        def hook(where: str, path: str) -> None:
            if where == point:
                raise OSError(code, os.strerror(code))

        monkeypatch.setattr(storage, "fault_hook", hook)

    return fail


@contextmanager
def without_privileges():
    """Give up root's right to write anywhere, where the tests have it."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


def everything_below(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_put_writes_whole_and_replaces(store):
    """A file holds what was put last, and nothing else lies beside it."""
    store.put("a/b.txt", b"first")
    store.put("a/b.txt", b"second")

    assert store.read("a/b.txt") == b"second"
    assert everything_below(Path(store.root)) == ["b.txt"]


@pytest.mark.parametrize("call", ["put", "create"])
def test_a_refusal_before_the_rename_leaves_nothing(store, fail_at, call):
    """Where the disk refuses after the bytes are written, neither file nor temporary stays."""
    fail_at("written", errno.ENOSPC)

    with pytest.raises(StorageError):
        getattr(store, call)("a/b.txt", b"data")

    assert everything_below(Path(store.root)) == []


def test_a_file_that_is_there_survives_a_failed_put(store, fail_at):
    """A failed replacement leaves the old content."""
    store.put("a.txt", b"old")
    fail_at("written", errno.EIO)

    with pytest.raises(StorageError):
        store.put("a.txt", b"new")

    assert store.read("a.txt") == b"old"
    assert everything_below(Path(store.root)) == ["a.txt"]


def test_half_a_file_is_never_seen(tmp_path):
    """Where the system stops a write in its middle, nothing is left of it."""
    program = (
        "import resource, sys\n"
        "from curation.storage import Store\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "Store(sys.argv[1]).put('big.bin', bytes(10_000))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]

    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert "StorageError" in ended.stderr
    assert "big.bin: cannot write: the store said: File too large" in ended.stderr
    assert everything_below(tmp_path) == []


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (errno.ENOSPC, "no space is left; free some and run the same command again"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EROFS, "the file system is read-only; name another folder"),
        (errno.EIO, "the store said: Input/output error"),
    ],
)
def test_a_refusal_says_what_to_do(store, fail_at, code, sentence):
    """The message names the file and a way out, whatever the system said."""
    fail_at("written", code)

    with pytest.raises(StorageError, match=f"images/x.parquet: cannot write: {sentence}"):
        store.put("images/x.parquet", b"data")


@pytest.mark.parametrize("call", ["put", "create"])
def test_an_unwritable_folder_is_refused_in_a_sentence(call):
    """Without the right to write, the message says so."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        with (
            without_privileges(),
            pytest.raises(StorageError, match="give this user the right to write there"),
        ):
            getattr(Store(folder), call)("a.txt", b"data")
        assert everything_below(Path(folder)) == []


def test_an_unreadable_folder_is_not_taken_for_an_empty_one():
    """A listing that is denied is an error: an empty answer would start work anew."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o000)
        with without_privileges(), pytest.raises(StorageError, match="cannot list"):
            Store(folder).names("")


@pytest.mark.parametrize("call", ["put", "create"])
@pytest.mark.parametrize("name", ["file/a.txt", "file/sub/a.txt"])
def test_a_file_in_the_path_is_refused(store, call, name):
    """A path that runs through a file is an error, never mistaken for somebody else's file."""
    store.put("file", b"data")

    with pytest.raises(StorageError, match="name another folder"):
        getattr(store, call)(name, b"data")


def test_a_folder_is_not_replaced_by_a_file(store):
    """A put onto a folder fails and leaves no temporary."""
    store.put("folder/a.txt", b"data")

    with pytest.raises(StorageError, match="a folder lies where the file should be"):
        store.put("folder", b"data")

    assert everything_below(Path(store.root)) == ["a.txt"]


def test_create_keeps_what_is_there(store):
    """The second call says that it lost, and changes nothing."""
    assert store.create("claim", b"mine")
    assert not store.create("claim", b"yours")
    assert store.read("claim") == b"mine"
    assert everything_below(Path(store.root)) == ["claim"]


def test_of_racing_threads_exactly_one_creates(store):
    """Eight threads at once: one wins, and the file holds what that one wrote."""
    with ThreadPoolExecutor(8) as threads:
        for round in range(20):
            name = f"claim-{round}"
            won = list(threads.map(lambda n: store.create(name, b"%d" % n), range(8)))  # noqa: B023
            assert won.count(True) == 1
            assert store.read(name) == b"%d" % won.index(True)


def test_of_racing_processes_exactly_one_creates(tmp_path):
    """Eight processes that start together: one wins each file."""
    program = (
        "import sys\n"
        "from curation.storage import Store\n"
        "store = Store(sys.argv[1])\n"
        "sys.stdin.read(1)\n"
        "print(*[store.create(f'claim-{n}', sys.argv[2].encode()) for n in range(20)])\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(8)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    answers = []
    for process in processes:
        assert process.stdout is not None
        answers.append([word == "True" for word in process.stdout.read().split()])
        process.stdout.close()
        process.wait()

    for n in range(20):
        won = [answer[n] for answer in answers]
        assert won.count(True) == 1
        assert (tmp_path / f"claim-{n}").read_text() == str(won.index(True))


def test_memory_behaves_as_a_folder_does(memory):
    """The same calls on an object store: whole puts, one creation, listings, deletions."""
    memory.put("a/x.txt", b"1")
    memory.put("a/b/y.txt", b"2")

    assert memory.create("claim", b"mine")
    assert not memory.create("claim", b"yours")
    assert memory.read("claim") == b"mine"
    assert memory.names("a") == ["b", "x.txt"]
    assert memory.names("nowhere") == []
    assert memory.files("a") == ["a/b/y.txt", "a/x.txt"]
    assert memory.uri("a/x.txt") == "memory:///bucket/data/a/x.txt"
    memory.delete("a/x.txt")
    memory.delete("a/x.txt")
    assert not memory.exists("a/x.txt")
    with pytest.raises(FileNotFoundError):
        memory.read("a/x.txt")


def test_temporaries_are_in_no_listing(store):
    """What a killed process left half-written is invisible."""
    store.put("a/x.txt", b"1")
    Path(store.path("a/.tmp-0123")).write_bytes(b"half")

    assert store.names("a") == ["x.txt"]
    assert store.files("") == ["a/x.txt"]


def test_listings_are_in_byte_order(store):
    """`Z` comes before `a`, and 10 before 9."""
    for name in ("a", "Z", "10", "9"):
        store.put(f"f/{name}", b"")

    assert store.names("f") == ["10", "9", "Z", "a"]
    assert store.files("f") == ["f/10", "f/9", "f/Z", "f/a"]


@pytest.mark.parametrize("kind", ["store", "memory"])
def test_stamps_tell_files_from_those_that_take_their_place(kind, request):
    """By size and the store's own times and tags, for a folder, a file and the root as a file."""
    store = request.getfixturevalue(kind)
    store.put("m/a/x.json", b"1")
    store.put("m/y.json", b"22")

    before = store.stamps("m")
    store.put("m/y.json", b"33")
    after = store.stamps("m")

    assert [(name, stamp["size"]) for name, stamp in before.items()] == [
        ("m/a/x.json", 1),
        ("m/y.json", 2),
    ]
    assert after["m/a/x.json"] == before["m/a/x.json"]
    assert after["m/y.json"] != before["m/y.json"]
    assert store.stamps("m/y.json") == {"m/y.json": after["m/y.json"]}
    assert list(Store(store.uri("m/y.json")).stamps("")) == [""]
    with pytest.raises(FileNotFoundError):
        store.stamps("nothing")


@pytest.mark.parametrize("kind", ["store", "memory"])
def test_a_download_is_the_file(kind, request, tmp_path):
    """Also where the root is the file; an error of this machine's disk stays what it is."""
    store = request.getfixturevalue(kind)
    store.put("m/x.bin", bytes(range(256)))

    store.download("m/x.bin", tmp_path / "one")
    Store(store.uri("m/x.bin")).download("", tmp_path / "two")

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes() == bytes(range(256))
    with pytest.raises(OSError, match="one"):
        store.download("m/x.bin", tmp_path / "one" / "x")
    with pytest.raises(FileNotFoundError):
        store.download("m/nothing", tmp_path / "three")


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd", ".."])
def test_a_name_that_leaves_the_root_is_refused(store, name):
    """No relative name reaches outside of the dataset."""
    with pytest.raises(StorageError, match="leaves"):
        store.read(name)
    with pytest.raises(StorageError, match="leaves"):
        store.put(name, b"data")


@pytest.mark.parametrize("url", ["zip://x::/tmp/a.zip", "simplecache::s3://bucket/x"])
def test_a_chained_url_is_refused(url):
    """Chains would open archives and caches behind our back."""
    with pytest.raises(UsageError, match="chained URLs are not accepted"):
        Store(url)


def test_an_unknown_protocol_is_refused():
    """The message names the URL; nothing is tried."""
    with pytest.raises(UsageError, match="nonsense://x: this kind of URL cannot be opened"):
        Store("nonsense://x")


@pytest.mark.parametrize("url", ["{}", "file://{}"])
def test_a_store_travels_between_processes(tmp_path, url):
    """A pickled store finds the same files, whichever way its folder was named."""
    store = Store(url.format(tmp_path))
    store.put("a.txt", b"data")

    copy = pickle.loads(pickle.dumps(store))

    assert copy.url == store.url == str(tmp_path)
    assert copy.read("a.txt") == b"data"
    assert copy.local("a.txt") == tmp_path / "a.txt"


def test_reading_what_is_not_there_is_no_storage_error(store):
    """Absence is an answer that callers expect, so it keeps its own type."""
    with pytest.raises(FileNotFoundError):
        store.read("a.txt")
    with pytest.raises(FileNotFoundError):
        store.size("a.txt")
    assert store.names("a") == []
    assert store.files("a") == []
