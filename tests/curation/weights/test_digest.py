"""What weights are: their content, whatever place it has, looked at once."""

import hashlib
import json
import os
import threading
from pathlib import Path

import pytest

from curation.errors import ConfigError
from curation.weights import digest as digest_module
from curation.weights import digest_of

LARGE = 2 << 20
"""Bytes above which digests are remembered."""


@pytest.fixture
def memory(tmp_path):
    return tmp_path / "memory"


@pytest.fixture
def hashed(monkeypatch):
    """The names of the files that were read, in order."""
    names = []
    really = digest_module._hash

    def count(path):
        names.append(path.name)
        return really(path)

    monkeypatch.setattr(digest_module, "_hash", count)
    return names


def fill(folder, **files):
    for name, data in files.items():
        path = folder / name.replace("__", "/").replace("_json", ".json").replace(
            "_st", ".safetensors"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def test_a_file_is_its_content_whatever_its_name(tmp_path, memory):
    """The first 32 digits of SHA-256, as `sha256sum` says."""
    (tmp_path / "a.pt").write_bytes(b"weights")
    (tmp_path / "b.safetensors").write_bytes(b"weights")
    (tmp_path / "c.pt").write_bytes(b"others")

    found = [digest_of(tmp_path / name, memory) for name in ("a.pt", "b.safetensors", "c.pt")]

    assert found[0] == found[1] == hashlib.sha256(b"weights").hexdigest()[:32]
    assert found[2] != found[0]


def test_a_folder_is_its_files_by_name(tmp_path, memory):
    """Another name is another model, another place or order is not."""
    one = fill(tmp_path / "one", config_json=b"{}", vision__model_st=b"w")
    same = fill(tmp_path / "same", vision__model_st=b"w", config_json=b"{}")
    other = fill(tmp_path / "other", config_json=b"{}", text__model_st=b"w")

    assert digest_of(one, memory) == digest_of(same, memory) != digest_of(other, memory)


def test_what_is_no_part_of_a_model_does_not_count(tmp_path, memory):
    """Words, pictures, code, and what is hidden."""
    folder = fill(tmp_path / "model", config_json=b"{}", model_st=b"w")
    before = digest_of(folder, memory)

    for name in ("README.md", "LICENSE.txt", "requirements.txt", "cat.png", "model.py"):
        (folder / name).write_text("x")
    (folder / ".gitattributes").write_text("x")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x.json").write_text("x")

    assert digest_of(folder, memory) == before


@pytest.mark.parametrize(
    ("safe", "pickles"),
    [
        ("model.safetensors", ["pytorch_model.bin"]),
        ("open_clip_model.safetensors", ["open_clip_pytorch_model.bin"]),
        ("open_clip_pytorch_model.safetensors", ["open_clip_pytorch_model.bin"]),
        (
            "a/model-00001-of-00002.safetensors",
            ["a/pytorch_model-00001-of-00003.bin", "a/pytorch_model.bin.index.json"],
        ),
    ],
)
def test_a_pickle_of_what_is_there_as_safetensors_does_not_count(safe, pickles):
    """Loaders take the safetensors; alone, it is what they load."""
    assert digest_module.chosen([safe, *pickles]) == [safe]
    assert digest_module.chosen(pickles) == sorted(pickles)


@pytest.mark.parametrize(
    "others",
    [
        ["adapter.safetensors", "pytorch_model.bin"],
        ["model.fp16.safetensors", "pytorch_model.bin"],
        ["a/model.safetensors", "pytorch_model.bin"],
        ["head.bin", "model.safetensors"],
        ["model.safetensors", "open_clip_pytorch_model.bin"],
    ],
)
def test_a_pickle_of_something_else_counts(others):
    """What may be loaded must be in the digest."""
    assert digest_module.chosen(others) == sorted(others)


def test_links_count_as_what_they_lead_to(tmp_path, memory):
    """As the hub's own cache keeps models."""
    plain = fill(tmp_path / "plain", config_json=b"{}", a__model_st=b"w")
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "config.json").symlink_to(plain / "config.json")
    (linked / "a").symlink_to(plain / "a")
    (tmp_path / "whole").symlink_to(plain)

    assert digest_of(linked, memory) == digest_of(plain, memory)
    assert digest_of(tmp_path / "whole", memory) == digest_of(plain, memory)


def test_links_in_a_circle_come_to_an_end(tmp_path, memory):
    """A folder is not entered again from within itself."""
    folder = fill(tmp_path / "model", a__x_json=b"{}", b__y_json=b"{}")
    (folder / "a" / "up").symlink_to(folder)
    (folder / "a" / "across").symlink_to(folder / "b")
    (folder / "b" / "across").symlink_to(folder / "a")

    assert digest_module.weight_files(folder) == [
        "a/across/y.json",
        "a/x.json",
        "b/across/x.json",
        "b/y.json",
    ]


def test_a_second_look_reads_no_large_file(tmp_path, memory, hashed):
    """Small ones are read each time, which is as quick."""
    folder = fill(tmp_path / "model", config_json=b"{}", model_st=bytes(LARGE))

    first = digest_of(folder, memory)
    second = digest_of(folder, memory)

    assert first == second
    assert hashed == ["config.json", "model.safetensors", "config.json"]


def test_a_file_that_changes_is_read_again(tmp_path, memory):
    """Also where size and time of change are put back to what they were."""
    path = tmp_path / "model.pt"
    path.write_bytes(bytes(LARGE))
    before = digest_of(path, memory)
    status = path.stat()

    path.write_bytes(b"x" + bytes(LARGE - 1))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert path.stat().st_mtime_ns == status.st_mtime_ns
    assert digest_of(path, memory) == hashlib.sha256(path.read_bytes()).hexdigest()[:32] != before


def test_a_file_that_takes_anothers_place_is_read_again(tmp_path, memory):
    """A link that leads elsewhere now, as well."""
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(name.encode() * LARGE)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "one")
    first = digest_of(link, memory)

    link.unlink()
    link.symlink_to(tmp_path / "two")

    assert digest_of(link, memory) == digest_of(tmp_path / "two", memory) != first


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"path": 1', b"\xff"])
def test_a_spoilt_memory_is_no_memory(tmp_path, memory, content):
    """It is read anew and noted anew."""
    path = tmp_path / "model.pt"
    path.write_bytes(bytes(LARGE))
    expected = digest_of(path, memory)
    (note,) = memory.glob("*.json")
    good = note.read_bytes()
    note.write_bytes(content)

    assert digest_of(path, memory) == expected
    assert note.read_bytes() == good


def test_without_a_memory_weights_are_known_all_the_same(tmp_path):
    """None to be had, or one that cannot be written: a file lies where the folder should."""
    path = tmp_path / "model.pt"
    path.write_bytes(bytes(LARGE))
    (tmp_path / "file").touch()

    assert digest_of(path, None) == digest_of(path, tmp_path / "file" / "memory")


def test_a_file_that_grows_while_it_is_read_is_not_remembered(tmp_path, memory, monkeypatch):
    """What was read is neither the old file nor the new."""
    path = tmp_path / "model.pt"
    path.write_bytes(bytes(LARGE))
    really = digest_module._hash

    def slowly(file):
        found = really(file)
        with file.open("ab") as more:
            more.write(b"x")
        return found

    monkeypatch.setattr(digest_module, "_hash", slowly)
    digest_of(path, memory)

    assert list(memory.glob("*")) == []


def test_many_at_once_agree_and_leave_one_note(tmp_path, memory):
    """As the workers of a machine do when they begin."""
    path = tmp_path / "model.pt"
    path.write_bytes(bytes(LARGE))
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(digest_of(path, memory))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert set(found) == {hashlib.sha256(bytes(LARGE)).hexdigest()[:32]}
    assert [json.loads(note.read_text())["name"] for note in memory.iterdir()] == [str(path)]


def test_of_many_at_a_huge_file_one_reads_and_says_so(
    tmp_path, memory, hashed, monkeypatch, caplog
):
    """The others wait for it; here, what counts as huge is small."""
    monkeypatch.setattr(digest_module, "_SAID_BYTES", LARGE)
    path = tmp_path / "model.pt"
    path.write_bytes(bytes(LARGE))
    threads = [threading.Thread(target=digest_of, args=(path, memory)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert hashed == ["model.pt"]
    said = [r.getMessage() for r in caplog.records if "to know which weights" in r.getMessage()]
    assert len(said) == 1
    assert str(path) in said[0]


def nothing(folder):
    return folder / "absent"


def empty(folder):
    return folder


def broken_link(folder):
    (folder / "x.json").symlink_to(folder / "gone")
    return folder


def pipe(folder):
    os.mkfifo(folder / "x.json")
    return folder


def pipe_itself(folder):
    os.mkfifo(folder / "x")
    return folder / "x"


def only_words(folder):
    (folder / "README.md").write_text("x")
    return folder


def in_a_file(folder):
    (folder / "x").touch()
    return folder / "x" / "model.pt"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (nothing, "no such file or folder; name what is there"),
        (empty, "holds no weights (no .bin, "),
        (only_words, "holds no weights (no .bin, "),
        (broken_link, "the link leads nowhere"),
        (pipe, "is no regular file"),
        (pipe_itself, "is no regular file"),
        (in_a_file, "Not a directory"),
    ],
)
def test_what_is_no_weights_is_refused_in_a_sentence(tmp_path, memory, make, words):
    """Nothing waits for ever, and nothing is a digest of nothing."""
    folder = tmp_path / "model"
    folder.mkdir()

    with pytest.raises(ConfigError) as caught:
        digest_of(make(folder), memory)

    assert words in str(caught.value)
    assert str(folder) in str(caught.value)


def test_what_may_not_be_read_is_said(tmp_path, memory, monkeypatch):
    """Whoever runs the tests may be root, so the refusal is made up."""

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "model.pt").write_bytes(b"x")
    monkeypatch.setattr(digest_module, "_hash", refuse)

    with pytest.raises(
        ConfigError, match=r"model\.pt: the weights cannot be read \(Permission denied"
    ):
        digest_of(Path(tmp_path / "model.pt"), memory)
