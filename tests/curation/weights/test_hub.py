"""Models of the hub: fetched by huggingface_hub itself, from a server on loopback."""

import subprocess
import sys
import time

import pytest

from curation.errors import ConfigError
from curation.weights import cache_folder, digest_of, fetch, find, local_weights, weights_digest
from tests.fakes.hub import COMMIT, serve

MODEL = f"hf://ann/tiny@{COMMIT}"

FILES = {
    ".gitattributes": b"*",
    "README.md": b"# Tiny",
    "config.json": b'{"size": 8}',
    "modeling_tiny.py": b"raise SystemExit",
    "model.safetensors": bytes(3 << 20),
    "pytorch_model.bin": bytes(10),
    "tokenizer/merges[1].txt": b"a b",
    "tokenizer/run.py": b"raise SystemExit",
    "heads/linear.pth": b"head",
}
COUNTING = ["config.json", "heads/linear.pth", "model.safetensors", "tokenizer/merges[1].txt"]


@pytest.fixture(autouse=True)
def hub(tmp_path, monkeypatch):
    """A hub with one model, and nothing fetched yet."""
    from huggingface_hub import constants

    monkeypatch.setenv("LONGTAIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "theirs"))
    for name in ("HF_TOKEN", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serve({"ann/tiny": FILES}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def test_the_weights_of_the_pinned_commit_are_fetched_and_no_code(hub, tmp_path):
    """Nor words, nor a pickle beside safetensors; nothing of the library's own stays behind."""
    held = fetch(MODEL)

    assert hub.files() == COUNTING
    found = sorted(p.relative_to(held.path).as_posix() for p in held.path.rglob("*") if p.is_file())
    assert found == COUNTING
    assert held.path.name == "tiny"
    assert held.path.is_relative_to(tmp_path / "cache" / "weights")
    assert held.num_bytes == sum(len(FILES[name]) for name in COUNTING)
    assert held.digest == digest_of(held.path, None)
    assert sorted(p.name for p in held.path.parent.iterdir()) == [".source.json", "tiny"]


def test_what_is_here_is_not_asked_for_again(hub):
    """Fetched by the command, it is planned and loaded without a network."""
    held = fetch(MODEL)
    hub.asked.clear()

    assert fetch(MODEL) == find(MODEL) == held
    assert weights_digest(MODEL) == held.digest
    assert local_weights(MODEL, held.digest) == held.path
    assert hub.asked == []


def test_a_plan_downloads_nothing_from_the_hub(hub):
    """It says which command does."""
    with pytest.raises(ConfigError, match="not on this machine; `longtail models fetch PIPELINE`"):
        weights_digest(MODEL)

    assert find(MODEL) is None
    assert hub.asked == []


def test_a_worker_fetches_what_was_planned(hub):
    """Its machine is not the one on which the plan was made."""
    digest = fetch(MODEL).digest
    here = find(MODEL)
    assert here is not None
    (here.path / "config.json").unlink()  # a copy that somebody took apart counts as none
    assert find(MODEL) is None

    assert local_weights(MODEL, digest) == here.path
    assert (here.path / "config.json").read_bytes() == FILES["config.json"]


def test_one_file_or_folder_of_a_model_can_be_named(hub):
    """Nothing else of it is fetched."""
    head = fetch(f"{MODEL}/heads/linear.pth")
    assert find(f"{MODEL}/heads/linear.pth") == head
    assert hub.files() == ["heads/linear.pth"]
    tokenizer = fetch(f"{MODEL}/tokenizer")
    assert find(f"{MODEL}/tokenizer") == tokenizer

    assert head.path.name == "linear.pth"
    assert head.path.read_bytes() == b"head"
    assert [p.name for p in tokenizer.path.iterdir()] == ["merges[1].txt"]
    assert hub.files() == ["heads/linear.pth", "tokenizer/merges[1].txt"]


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        (f"hf://ann/absent@{COMMIT}", "there is no such model, or it is private"),
        (f"hf://ann/tiny@{COMMIT[::-1]}", "the model has no such commit"),
        (f"{MODEL}/absent", "the model has no weights there"),
        (f"{MODEL}/modeling_tiny.py", "the model has no weights there"),
        (f"{MODEL}/head", "the model has no weights there"),
        (f"hf://-ann/ti--ny@{COMMIT}", "the hub does not give it"),
    ],
)
def test_what_the_hub_has_not_is_refused_in_a_sentence(reference, words, tmp_path):
    """And nothing is left that would count as fetched."""
    with pytest.raises(ConfigError) as caught:
        fetch(reference)

    message = str(caught.value)
    assert message.startswith(f"{reference}: ")
    assert words in message
    assert "\n" not in message
    assert find(reference) is None
    assert [p.suffix for p in (tmp_path / "cache" / "weights").iterdir()] == [".lock"]


def test_a_gated_model_wants_a_token(hub, monkeypatch):
    """The one that huggingface_hub knows."""
    hub.gated.add("ann/tiny")

    with pytest.raises(ConfigError, match="gated: ask for access on its page, then set HF_TOKEN"):
        fetch(MODEL)

    monkeypatch.setenv("HF_TOKEN", "hf_of_ann")
    assert fetch(MODEL).num_bytes > 0


@pytest.fixture
def _no_waits(monkeypatch):
    """The library waits longer and longer between its tries."""
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)


@pytest.mark.usefixtures("_no_waits")
def test_a_hub_that_cannot_be_reached_is_said(monkeypatch):
    """Nothing listens there."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")

    with pytest.raises(ConfigError, match="the hub does not give it: .*check the network"):
        fetch(MODEL)


@pytest.mark.usefixtures("_no_waits")
def test_a_proxy_that_refuses_is_said(hub, monkeypatch):
    """The library takes it from the environment; this one knows no CONNECT."""
    from huggingface_hub.utils._http import close_session

    monkeypatch.setenv("HTTPS_PROXY", hub.url)
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.invalid")
    close_session()

    with pytest.raises(
        ConfigError, match="the hub does not give it: .*check the network"
    ) as caught:
        fetch(MODEL)

    close_session()
    assert type(caught.value.__cause__).__name__ == "ProxyError"


def test_a_download_that_is_cut_goes_on_where_it_was(hub):
    """The same call asks for the rest."""
    hub.cut_after = 1 << 20

    held = fetch(MODEL)

    assert hub.asked.count(("GET", f"/ann/tiny/resolve/{COMMIT}/model.safetensors")) == 2
    assert (held.path / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_a_killed_download_leaves_nothing_that_counts(hub):
    """The next one fetches all the same."""
    hub.cut_after, hub.stall = 1 << 20, True
    program = f"from curation.weights import fetch; fetch({MODEL!r})"
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        while hub.cut_after is not None:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()

    assert find(MODEL) is None
    assert (fetch(MODEL).path / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_offline_is_said(monkeypatch):
    """The library reads the variable when it is imported, so its copy is set here."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    with pytest.raises(ConfigError, match="HF_HUB_OFFLINE is set; unset it"):
        fetch(MODEL)


def test_a_file_that_does_not_come_whole_is_no_weights(hub, tmp_path):
    """The listing and the file disagree."""
    hub.stated["config.json"] = 9

    with pytest.raises(ConfigError, match=r"config\.json did not come whole|does not give it"):
        fetch(MODEL)

    assert find(MODEL) is None


def test_a_disk_that_is_too_small_is_said_before_anything_comes(hub):
    """From the sizes that the hub lists."""
    hub.stated["model.safetensors"] = 1 << 60

    with pytest.raises(ConfigError, match=r"takes 1073741824\.0 GiB, and .* left; free some"):
        fetch(MODEL)

    assert hub.files() == []


def test_without_the_library_the_extra_is_named(monkeypatch):
    """The core does not need it."""
    monkeypatch.setattr("curation.weights.hub.find_spec", lambda name: None)

    with pytest.raises(ConfigError, match=r"pip install 'longtail\[hub\]'"):
        fetch(MODEL)


def test_the_folder_says_what_it_holds(hub):
    """For whoever tidies the cache."""
    fetch(MODEL)

    (folder,) = [p for p in (cache_folder() / "weights").iterdir() if p.is_dir()]
    assert folder.name.startswith("tiny-")
    assert MODEL in (folder / ".source.json").read_text()
