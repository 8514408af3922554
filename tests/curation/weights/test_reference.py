"""How weights may be named."""

import pytest

from curation.config import Config, validate
from curation.errors import ConfigError
from curation.weights import Reference, WeightsReference

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Model(Config):
    """A configuration that names weights."""

    size: int = 1
    weights: WeightsReference


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("models/x.safetensors", "/work/models/x.safetensors"),
        ("./models/../x", "/work/x"),
        ("/models/x/", "/models/x"),
        ("~/x", "/home/ann/x"),
        ("file:///models/a b", "/models/a b"),
        ("local:///models/x", "/models/x"),
        ("file://models/x", "/work/models/x"),
    ],
)
def test_a_path_becomes_absolute(text, path, tmp_path, monkeypatch):
    """Below the folder where the command runs, or the home of whoever runs it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ann")

    found = Reference.parse(text)

    assert found == Reference("path", path.replace("/work", str(tmp_path)))


def test_a_link_keeps_its_name(tmp_path, monkeypatch):
    """What it leads to may change, and then the weights have."""
    (tmp_path / "link").symlink_to(tmp_path)

    assert Reference.parse(str(tmp_path / "link" / "x")).text == str(tmp_path / "link" / "x")


@pytest.mark.parametrize(
    "text", ["s3://b/m/x.pt", "https://h/x?revision=2", "memory://m", "gs://b/"]
)
def test_any_other_address_is_a_url(text):
    """It is kept as it stands, but for the slash at its end."""
    assert Reference.parse(text) == Reference("url", text.rstrip("/"))


@pytest.mark.parametrize(
    ("text", "path", "name"),
    [
        (f"hf://laion/CLIP-ViT.L_14@{COMMIT}", "", "CLIP-ViT.L_14"),
        (f"hf://laion/CLIP-ViT.L_14@{COMMIT}/", "", "CLIP-ViT.L_14"),
        (f"hf://laion/CLIP-ViT.L_14@{COMMIT}/heads/a.pth", "heads/a.pth", "a.pth"),
        (f"hf://laion/CLIP-ViT.L_14@{COMMIT.upper()}/b c", "b c", "b c"),
    ],
)
def test_a_model_of_the_hub_is_pinned(text, path, name):
    """Owner, name, commit, and perhaps a file or folder of it."""
    found = Reference.parse(text)

    assert (found.kind, found.repository, found.commit) == ("hub", "laion/CLIP-ViT.L_14", COMMIT)
    assert (found.path, found.name) == (path, name)


@pytest.mark.parametrize(
    "text",
    [
        "hf://laion/clip",
        "hf://laion/clip@",
        "hf://laion/clip@main",
        f"hf://laion/clip@{COMMIT[:12]}",
        f"hf://laion/clip@{COMMIT}0",
        f"hf://clip@{COMMIT}",
        f"hf://datasets/laion/clip@{COMMIT}",
        f"hf://laion/clip@{COMMIT}\n",
    ],
)
def test_a_model_of_the_hub_without_a_commit_is_refused(text):
    """Branches and tags move."""
    with pytest.raises(ValueError, match="40 hexadecimal digits of a commit"):
        Reference.parse(text)


@pytest.mark.parametrize("path", ["../x", "a/../../x", "a//x", "./x", "a/."])
def test_a_path_leaves_no_repository(path):
    """It is a path on this machine too."""
    with pytest.raises(ValueError, match="no path within a repository"):
        Reference.parse(f"hf://laion/clip@{COMMIT}/{path}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected a path"),
        ("  ", "expected a path"),
        ("zip://a::s3://b/c.zip", "chained"),
        ("~nobody-of-this-name/x", "no such home"),
        ("s3://key:secret@bucket/m", "has credentials in it"),
        ("https://h/x?token=geheim", "has credentials in it"),
    ],
)
def test_what_is_no_name_is_refused_in_a_sentence(text, words):
    """With the key of the configuration, and without the secret."""
    with pytest.raises(ConfigError, match=r"^stages\.embed\.weights: ") as caught:
        validate(Model, {"weights": text}, "stages.embed")

    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_the_place_is_no_part_of_the_meaning():
    """A configuration's fingerprint is made of its JSON."""
    model = validate(Model, {"weights": "/models/x"}, "")

    assert model.weights == "/models/x"
    assert model.model_dump(mode="json") == {"size": 1}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("s3://bucket/models/clip.safetensors", "clip.safetensors"),
        ("https://h/clip.pt?revision=2", "clip.pt"),
        ("s3://bucket/..", "weights"),
        ("s3://bucket/.hidden", "hidden"),
        (f"hf://a/..@{COMMIT}", "weights"),
        ("s3://bucket/" + "x" * 300 + ".pt", "x" * 97 + ".pt"),
    ],
)
def test_what_is_fetched_keeps_its_name_for_people_and_loaders(text, name):
    """Loaders go by the ending; a name may not leave the folder, hide, or be too long."""
    assert Reference.parse(text).name == name
