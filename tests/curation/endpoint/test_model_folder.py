"""Folders that lack a part of a model are refused before an engine spends minutes on them."""

import json

import pytest

from curation.endpoint.model_folder import INDEX, check_model_folder
from curation.errors import ConfigError
from tests.fakes.tiny_qwen_vl import write_tiny_qwen_vl


@pytest.fixture
def folder(tmp_path):
    return write_tiny_qwen_vl(tmp_path / "model")


def test_a_whole_model(folder):
    """As it is released: in one file, or in several with an index."""
    check_model_folder(folder)

    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    index = {"weight_map": {"lm_head.weight": "model-00001-of-00001.safetensors"}}
    (folder / INDEX).write_text(json.dumps(index))
    check_model_folder(folder)


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])


@pytest.mark.parametrize(
    ("breaks", "words"),
    [
        (lambda f: (f / "config.json").unlink(), "config.json: cannot be read"),
        (lambda f: (f / "config.json").write_text("{"), "config.json: no JSON"),
        (lambda f: (f / "config.json").write_text("{}"), "names no architecture"),
        (
            lambda f: [(f / n).unlink() for n in ("tokenizer.json", "tokenizer_config.json")],
            "has no tokenizer",
        ),
        (lambda f: (f / "model.safetensors").unlink(), "has no weights"),
        (lambda f: cut(f / "model.safetensors", 100_000), "100000 bytes, expected 9"),
        (lambda f: cut(f / "model.safetensors", 100), "cut, or no safetensors file"),
        (lambda f: cut(f / "model.safetensors", 0), "cut, or no safetensors file"),
        (
            lambda f: (f / "model.safetensors").write_bytes(bytes([2, *[0] * 7]) + b"[]" + b"x"),
            "its header is broken",
        ),
        (
            lambda f: (f / INDEX).write_text('{"weight_map": {"a": "part-2.safetensors"}}'),
            "part-2.safetensors: cannot be read",
        ),
    ],
)
def test_a_part_is_missing(folder, breaks, words):
    """The sentence names the file."""
    breaks(folder)

    with pytest.raises(ConfigError) as caught:
        check_model_folder(folder)

    assert words in str(caught.value)


def test_a_file_is_no_folder(folder):
    """Some name the weights' file."""
    with pytest.raises(ConfigError, match="not a folder"):
        check_model_folder(folder / "model.safetensors")
