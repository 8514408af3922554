"""Weights on this machine: where they lie, fetched once, whole, and never the wrong ones."""

import errno
import hashlib
import os
import socket
import subprocess
import sys
import threading
import uuid

import fsspec
import pytest

from curation import storage
from curation.errors import ConfigError, MissingWeightsError
from curation.storage import Store
from curation.weights import (
    Reference,
    cache,
    fetch,
    find,
    local_weights,
    made_once,
    remote,
    weights_digest,
)
from tests.fakes.hub import COMMIT, serve

OTHER = "0" * 32


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty cache, which lists what is in it."""
    monkeypatch.setenv("LONGTAIL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


def put(url, **files):
    """Write files below a URL in memory, which no other test uses."""
    fs = fsspec.filesystem("memory")
    for name, data in files.items():
        fs.pipe_file(f"{url}/{name.replace('__', '/').replace('_json', '.json')}", data)
    return url


@pytest.fixture
def model():
    return put(f"memory://{uuid.uuid4().hex}", config_json=b"{}", a__x_json=b"[1]", readme=b"x")


@pytest.fixture
def fetched(monkeypatch):
    """What was copied, in order."""
    names = []
    really = Store.download

    def count(self, name, target):
        names.append(name)
        really(self, name, target)

    monkeypatch.setattr(Store, "download", count)
    return names


def there(folder):
    """Return what the cache holds, without locks."""
    if not folder.exists():
        return []
    return sorted(p.name for p in folder.iterdir() if not p.name.endswith(".lock"))


# Paths -------------------------------------------------------------------------------------------


def test_weights_at_a_path_are_used_where_they_lie(tmp_path, folder):
    """Nothing is copied."""
    path = tmp_path / "model.pt"
    path.write_bytes(b"w")
    digest = weights_digest(str(path))

    held = fetch(str(path))

    assert (held.path, held.num_bytes, held.digest) == (path, 1, digest)
    assert find(str(path)) == held
    assert local_weights(str(path), digest) == path
    assert there(folder) == []


def test_other_weights_than_planned_are_refused(tmp_path):
    """A worker whose machine has another file under that name."""
    path = tmp_path / "model.pt"
    path.write_bytes(b"w")

    with pytest.raises(ConfigError, match="these are other weights .* than those that the run"):
        local_weights(str(path), OTHER)


def test_a_path_that_names_nothing_is_said(tmp_path):
    """By every way in."""
    path = str(tmp_path / "model.pt")

    for ask in (weights_digest, fetch, find, lambda text: local_weights(text, OTHER)):
        with pytest.raises(
            MissingWeightsError, match=r"model\.pt: no such file or folder; name what is there"
        ):
            ask(path)


def test_what_is_no_reference_is_refused_with_its_text():
    """Where it comes from no checked configuration."""
    with pytest.raises(ConfigError, match="hf://a/b: expected hf://OWNER/NAME@COMMIT"):
        weights_digest("hf://a/b")


# URLs --------------------------------------------------------------------------------------------


def test_a_folder_at_a_url_is_fetched_once(model, folder, fetched):
    """Its weights; the plan and the worker find the same."""
    assert find(model) is None
    digest = weights_digest(model)
    path = local_weights(model, digest)

    assert sorted(p.relative_to(path).as_posix() for p in path.rglob("*.*")) == [
        "a/x.json",
        "config.json",
    ]
    assert weights_digest(model) == digest
    assert fetch(model) == find(model)
    assert fetched == ["a/x.json", "config.json"]
    assert len(there(folder)) == 1


def test_a_file_at_a_url_keeps_its_ending(model, folder):
    """Loaders go by it."""
    url = f"{put(model, **{'x.safetensors': b'w'})}/x.safetensors"

    path = local_weights(url, hashlib.sha256(b"w").hexdigest()[:32])

    assert path.name == "x.safetensors"
    assert path.read_bytes() == b"w"


def test_a_plan_sees_that_other_weights_lie_at_the_url_now(model, folder, fetched):
    """Else a driver would plan for ever with the copy that it made once."""
    before = weights_digest(model)
    put(model, config_json=b"[]")

    after = weights_digest(model)

    assert after != before
    assert (local_weights(model, after) / "config.json").read_bytes() == b"[]"
    assert len(fetched) == 4
    assert len(there(folder)) == 1


def test_a_worker_fetches_anew_what_it_has_an_older_copy_of(model, fetched, tmp_path, monkeypatch):
    """The plan was made elsewhere, with what lies there now."""
    weights_digest(model)
    put(model, config_json=b"[]")
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("LONGTAIL_CACHE", str(tmp_path / "driver"))
        planned = weights_digest(model)
    assert len(fetched) == 4

    path = local_weights(model, planned)

    assert path.is_relative_to(tmp_path / "cache")
    assert (path / "config.json").read_bytes() == b"[]"
    assert len(fetched) == 6


def test_what_was_not_planned_is_not_fetched_again_and_again(model, fetched):
    """What lies at the URL is what is here: to fetch it once more would not make it another."""
    weights_digest(model)

    for _ in range(3):
        with pytest.raises(ConfigError, match=r"these are other weights .* or delete /.* to fetch"):
            local_weights(model, OTHER)

    assert len(fetched) == 2


@pytest.mark.parametrize("spoil", ["missing file", "short file", "no note"])
def test_a_copy_that_was_taken_apart_is_no_copy(model, fetched, spoil):
    """A plan would be made for half a model; it is fetched again."""
    held = fetch(model)
    if spoil == "missing file":
        (held.path / "config.json").unlink()
    elif spoil == "short file":
        (held.path / "config.json").write_bytes(b"")
    else:
        (held.path.parent / ".source.json").write_bytes(b"{")

    assert find(model) is None
    assert weights_digest(model) == held.digest
    assert find(model) == held
    assert len(fetched) == 4


def test_without_a_network_the_copy_stands(model, monkeypatch):
    """A plan can be made on a train; a worker that has what was planned asks nobody."""
    digest = weights_digest(model)

    def unreachable(self, name):
        raise ConnectionError

    monkeypatch.setattr(Store, "stamps", unreachable)

    assert weights_digest(model) == digest
    assert local_weights(model, digest).exists()
    with pytest.raises(
        MissingWeightsError, match="memory://elsewhere: the weights cannot be fetched"
    ):
        weights_digest("memory://elsewhere")


def test_what_others_hold_open_outlives_its_replacement(model):
    """A worker that maps the old file into memory goes on."""
    path = local_weights(model, weights_digest(model)) / "config.json"
    with path.open("rb") as file:
        put(model, config_json=b"[]")
        weights_digest(model)

        assert file.read() == b"{}"
    assert path.read_bytes() == b"[]"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "there is nothing to be had"),
        ({"readme": b"x"}, "there are no weights (no .bin, "),
        ({"a/../../x.json": b"x"}, "there are no weights (no .bin, "),
        ({"a//x.json": b"x"}, "is no name for a file"),
    ],
)
def test_a_url_without_weights_is_refused(files, words, folder, monkeypatch):
    """Names in a store may be anything, and may not leave the folder."""
    url = "memory://nothing-here"
    if files:
        stamps = {name: {"size": len(data)} for name, data in files.items()}
        monkeypatch.setattr(Store, "stamps", lambda self, name: stamps)

    with pytest.raises(ConfigError) as caught:
        weights_digest(url)

    assert words in str(caught.value)
    assert url in str(caught.value)
    assert there(folder) == []


def test_a_copy_that_ends_early_is_no_copy(model, folder, monkeypatch):
    """Some libraries take a cut connection for the end of the file."""
    monkeypatch.setattr(Store, "download", lambda self, name, target: target.write_bytes(b""))

    with pytest.raises(ConfigError, match="0 bytes came of 3; run the same command again"):
        weights_digest(model)

    assert there(folder) == []


def test_what_changes_while_it_is_fetched_is_no_copy(model, folder, monkeypatch):
    """Half of it would be of the old weights."""
    really = Store.download

    def change(self, name, target):
        really(self, name, target)
        put(model, a__x_json=b"[2]")

    monkeypatch.setattr(Store, "download", change)

    with pytest.raises(ConfigError, match="changed while it was fetched"):
        weights_digest(model)

    assert there(folder) == []


def test_a_disk_that_is_too_small_is_said_before_anything_comes(model, fetched, monkeypatch):
    """From the sizes that the store lists."""
    monkeypatch.setattr(
        Store, "stamps", lambda self, name: {"x.pt": {"size": 1 << 60}, "y.pt": {"size": None}}
    )

    with pytest.raises(
        MissingWeightsError, match=r"takes 1073741824\.0 GiB, and .* left; free some, or"
    ):
        weights_digest(model)

    assert fetched == []


def test_a_disk_that_fills_up_is_said(model, folder, monkeypatch):
    """Somebody else may write to it; nothing half stays."""

    def fill(self, name, target):
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Store, "download", fill)

    with pytest.raises(MissingWeightsError, match="kept there .No space left.*set LONGTAIL_CACHE"):
        weights_digest(model)

    assert there(folder) == []


def test_a_cache_that_cannot_be_written_is_said(model, tmp_path, monkeypatch):
    """A file lies where it should be; or whoever runs it has no home."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("LONGTAIL_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(MissingWeightsError, match="cannot be kept there .*set LONGTAIL_CACHE"):
        weights_digest(model)

    def homeless():
        raise RuntimeError

    monkeypatch.delenv("LONGTAIL_CACHE")
    monkeypatch.setattr("pathlib.Path.home", homeless)
    with pytest.raises(MissingWeightsError, match="no home to keep weights in; set LONGTAIL_CACHE"):
        weights_digest(model)
    (tmp_path / "model.pt").write_bytes(bytes(2 << 20))
    assert weights_digest(str(tmp_path / "model.pt"))


# Many at once, and killed ------------------------------------------------------------------------


def test_of_many_at_once_one_fetches(model, fetched, caplog):
    """The others wait for it, and say so."""
    found = []
    threads = [threading.Thread(target=lambda: found.append(fetch(model))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(found)) == 1
    assert len(found) == 6
    assert fetched == ["a/x.json", "config.json"]


KILLED = """
import os, signal, sys
from curation.storage import Store
from curation.weights import cache, fetch

def half(self, name, target):
    target.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[1] == "download":
    Store.download = half
else:
    cache.{0} = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
fetch(sys.argv[2])
"""


@pytest.mark.parametrize("where", ["download", "_swap"])
def test_a_killed_fetch_leaves_nothing_that_counts(tmp_path, folder, where):
    """The next one fetches, and tidies up what was left."""
    with serve({"a/b": {"x.pt": b"whole"}}) as server:
        url = f"{server.url}/a/b/resolve/{COMMIT}/x.pt"
        program = [sys.executable, "-c", KILLED.format(where), where, url]
        assert subprocess.run(program, check=False).returncode == -9

        assert find(url) is None
        assert len(there(folder)) == 1
        assert fetch(url).path.read_bytes() == b"whole"
    (name,) = there(folder)
    assert name.startswith("x.pt-")


def test_nothing_of_a_killed_fetch_gets_among_the_weights(model, folder):
    """It may have been of a file that is no more at the URL."""
    reference = Reference.parse(model)
    home = cache._home(reference)
    left = folder / f".{home.name}.{socket.gethostname()}.partial" / reference.name
    left.mkdir(parents=True)
    (left / "stale.json").write_bytes(b"{}")

    held = fetch(model)

    assert not (held.path / "stale.json").exists()


def test_a_failed_fetch_does_not_keep_the_disk_full(model, folder, monkeypatch):
    """Only the hub's downloads go on where they were."""
    monkeypatch.setattr(cache, "_WORTH_KEEPING_BYTES", 0)
    monkeypatch.setattr(Store, "download", lambda self, name, target: target.write_bytes(b"x"))

    with pytest.raises(ConfigError, match="run the same command again"):
        fetch(model)

    assert [p for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock"] == []


def test_what_other_machines_left_goes_after_a_day(model, folder):
    """They may share the cache, and one of them may be at it now."""
    home = cache._home(Reference.parse(model))
    old, new = (folder / f".{home.name}.{host}.partial" for host in ("old", "new"))
    for left in (old, new):
        (left / "deep").mkdir(parents=True)
        (left / "deep" / "x.pt").write_bytes(b"x")
    for path in (old / "deep" / "x.pt", old / "deep", old):
        os.utime(path, (0, 0))

    fetch(model)

    assert there(folder) == sorted([new.name, home.name])


def test_a_folder_is_made_once(tmp_path):
    """Half of one is thrown away, and the next who asks makes it."""
    made = []

    def fail(target):
        (target / "half").touch()
        raise KeyboardInterrupt

    def make(target):
        made.append(target)
        (target / "whole").touch()

    with pytest.raises(KeyboardInterrupt):
        made_once("converted/x", fail)
    threads = [threading.Thread(target=made_once, args=("converted/x", make)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(made) == 1
    folder = tmp_path / "cache" / "converted"
    assert there(folder) == ["x"]
    assert [p.name for p in (folder / "x").iterdir()] == ["whole"]


# The web -----------------------------------------------------------------------------------------


@pytest.fixture
def web():
    page = b" \n<!DOCTYPE html><html><title>Sign in</title></html>"
    files = {"x.safetensors": bytes(range(256)) * 4096, "page.safetensors": page}
    with serve({"a/b": files}) as server:
        yield server


@pytest.mark.parametrize("pieces", [1 << 30, 1000])
def test_a_file_of_a_web_server_is_fetched(web, monkeypatch, pieces):
    """At once, or, where it is large, in pieces."""
    monkeypatch.setattr(storage, "_PIECES_BYTES", pieces)
    url = f"{web.url}/a/b/resolve/{COMMIT}/x.safetensors?download=true"

    held = fetch(url)

    assert held.path.name == "x.safetensors"
    assert held.path.read_bytes() == bytes(range(256)) * 4096


def test_a_page_of_a_web_server_is_no_weights(web, folder):
    """A page to sign in at, or one that shows the file."""
    with pytest.raises(ConfigError, match="is a web page and no weights; name the address of the"):
        fetch(f"{web.url}/a/b/resolve/{COMMIT}/page.safetensors")

    assert there(folder) == []


@pytest.mark.parametrize("path", ["/a/b/resolve/{}/absent.pt", "/nothing"])
def test_what_a_web_server_does_not_give_is_said(web, path):
    """With its answer."""
    with pytest.raises(MissingWeightsError, match="there is nothing to be had .*40[14]"):
        fetch(web.url + path.format(COMMIT))


def test_a_web_server_that_is_not_there_is_said():
    """Nothing listens."""
    with pytest.raises(MissingWeightsError, match="there is nothing to be had .*[Cc]onnect"):
        fetch("http://127.0.0.1:9/x.pt")


def test_large_weights_are_announced(model, caplog, monkeypatch):
    """A command that is silent for minutes looks dead; here, what counts as large is small."""
    monkeypatch.setattr(remote, "_SAID_BYTES", 1)

    fetch(model)

    assert f"{model}: fetching 0.0 GiB to " in caplog.text
