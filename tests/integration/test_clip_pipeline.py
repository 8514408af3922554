"""A pipeline with CLIP from its first image to a search by words, on a machine without a GPU."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.fakes import tiny_clip
from tests.stages.photographs import file_bytes, original, photograph

pytestmark = pytest.mark.slow

NAMES = ("astronaut", "chelsea", "coffee", "coins", "hopper", "page", "retina", "rocket")
TEXT = "red bicycle at night"


def longtail(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "curation.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=250)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run a pipeline over eight photographs and a file that is none; two models embed them."""
    root = tmp_path_factory.mktemp("clip")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LONGTAIL_CACHE", str(root / "cache"))
        (root / "lake").mkdir()
        for name in NAMES:
            (root / "lake" / f"{name}.jpg").write_bytes(original(name))
        (root / "lake" / "broken.jpg").write_bytes(b"no image")
        clip = tiny_clip.clip_folder(root / "tiny-clip")
        siglip = tiny_clip.siglip_folder(root / "tiny-siglip")
        (root / "pipeline.yaml").write_text(f"""\
name: words
dataset: {root / "data"}
source: {{name: lake, kind: folder, roots: ["{root / "lake"}"]}}
stages:
  embed: {{embedder: open_clip, weights: "{clip}"}}
  siglip: {{stage: embed, embedder: open_clip, weights: "{siglip}", precision: bf16}}
  shape: {{stage: embed}}
run: {{max_shard_rows: 4}}
""")
        command = ("run", root / "pipeline.yaml", "--runner", "local", "--workers", 1)
        done = longtail(*command, "--set", "run.device=cpu", "--json")
        assert done.returncode == 0, done.stderr
        yield root


def search(root: Path, *arguments: object) -> list[dict[str, object]]:
    done = longtail("search", root / "data", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    matches: list[dict[str, object]] = json.loads(done.stdout)["matches"]
    return matches


@pytest.mark.parametrize("instance", ["embed", "siglip"])
def test_words_find_what_the_model_has_near_them(root: Path, instance: str) -> None:
    """The ranking is that of open_clip's own text tower over the vectors of all good images."""
    import open_clip
    import torch

    from curation.dataset import Dataset

    name = f"local-dir:{root / ('tiny-clip' if instance == 'embed' else 'tiny-siglip')}"
    model, tokenizer = open_clip.create_model(name).eval(), open_clip.get_tokenizer(name)
    with torch.inference_mode():
        text = model.encode_text(tokenizer([TEXT]), normalize=True)[0].double().numpy()
    dataset = Dataset.open(str(root / "data"))
    (fingerprint,) = dataset.store.names(instance)
    expected = {}
    for shard in dataset.image_shards():
        keys = dataset.read_images(shard, ["source_key"])["source_key"].to_pylist()
        column = dataset.read_instance(instance, fingerprint, shard)[f"{instance}_vector"]
        for key, vector in zip(keys, column.to_pylist(), strict=True):
            if vector is not None:
                expected[key] = float(np.dot(vector, text) / np.linalg.norm(vector))

    found = search(root, TEXT, "--instance", instance, "-k", 9)

    assert len(found) == len(expected) == len(NAMES)
    tolerance = 2e-3 if instance == "embed" else 2e-2  # half precision; bf16 in the text tower
    for match in found:
        assert match["score"] == pytest.approx(expected[str(match["source_key"])], abs=tolerance)
    scores = [match["score"] for match in found]
    assert scores == sorted(scores, reverse=True)  # type: ignore[type-var]


def test_a_picture_finds_itself(root: Path) -> None:
    """The same model sees the example as it saw the lake."""
    found = search(root, "--image", root / "lake" / "retina.jpg", "--instance", "embed", "-k", "1")

    assert (found[0]["source_key"], found[0]["score"]) == ("retina.jpg", 1.0)


def test_words_are_asked_of_those_that_read(root: Path) -> None:
    """Two instances read text, so one must be named; the descriptor reads none."""
    both = longtail("search", root / "data", TEXT)
    mute = longtail("search", root / "data", TEXT, "--instance", "shape")

    assert (both.returncode, mute.returncode) == (2, 2)
    assert "2 instances have vectors; choose one with --instance: embed, siglip" in both.stderr
    assert "shape cannot read text, but embed, siglip can" in mute.stderr


def test_a_second_run_does_nothing(root: Path) -> None:
    """The weights are looked at again and are the same."""
    command = ("run", root / "pipeline.yaml", "--runner", "local", "--set", "run.device=cpu")

    done = longtail(*command)

    assert done.returncode == 0, done.stderr
    assert "nothing" in (done.stdout + done.stderr).lower()


def test_a_dataset_outlives_the_weights(root: Path, tmp_path: Path) -> None:
    """Without them and their cache, everything can be read; a search says what is missing."""
    moved = tmp_path / "moved"
    shutil.copytree(root / "data", moved)
    hidden = root / "tiny-clip.hidden"
    (root / "tiny-clip").rename(hidden)
    picture = tmp_path / "picture.jpg"
    picture.write_bytes(file_bytes(photograph("coins")))
    try:
        counted = longtail(
            "sql", moved, "SELECT count(embed_vector), any_value(len(embed_vector)) FROM rows"
        )
        listed = longtail("ls", moved)
        other = longtail("search", moved, "--image", picture, "--instance", "siglip")
        by_picture = longtail("search", moved, "--image", picture, "--instance", "embed")
        by_words = longtail("search", moved, TEXT, "--instance", "embed")
    finally:
        hidden.rename(root / "tiny-clip")

    assert counted.returncode == 0, counted.stderr
    assert {"8", "32"} <= set(counted.stdout.split())
    assert listed.returncode == 0, listed.stderr
    assert other.returncode == 0, other.stderr
    for refused in (by_picture, by_words):
        assert refused.returncode == 2
        assert f"{root / 'tiny-clip'}: no such file or folder" in refused.stderr
        assert "Traceback" not in refused.stderr
