"""Whether a folder holds a whole model in the layout of the Hugging Face hub, seen in milliseconds.

An engine that loads a model for minutes says at the end that a file is missing or was cut, and says
it in a stack of errors of several processes. Most of that can be seen before.
"""

import json
from pathlib import Path
from typing import Any

from curation.errors import ConfigError

INDEX = "model.safetensors.index.json"
_MAX_HEADER_BYTES = 100_000_000  # what the format allows
_LENGTH_BYTES = 8


def check_model_folder(folder: Path) -> None:
    """Refuse a folder that lacks a part of a model, or holds half of one.

    Raises:
        ConfigError: Says which file is wrong, and how.
    """
    if not folder.is_dir():
        message = f"{folder}: not a folder; name one with config.json and *.safetensors"
        raise ConfigError(message)
    config = _object(folder / "config.json")
    architectures = config.get("architectures")
    if not isinstance(architectures, list) or not architectures:
        message = (
            f"{folder / 'config.json'}: names no architecture (`architectures`); is this the "
            "folder of a whole model, as released?"
        )
        raise ConfigError(message)
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json")):
        message = f"{folder}: has no tokenizer (tokenizer.json); copy all files of the model"
        raise ConfigError(message)
    for name in _weight_files(folder):
        _check_whole(folder / name)


def _weight_files(folder: Path) -> list[str]:
    if (folder / INDEX).is_file():
        named = _object(folder / INDEX).get("weight_map")
        names = sorted(set(named.values())) if isinstance(named, dict) else []
    else:
        names = sorted(path.name for path in folder.glob("*.safetensors"))
    if not names:
        message = f"{folder}: has no weights (*.safetensors); copy all files of the model"
        raise ConfigError(message)
    return names


def _check_whole(path: Path) -> None:
    """Compare a safetensors file's length with what its header says.

    Source: the format's description in the README of huggingface/safetensors.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            if not 2 <= length <= min(_MAX_HEADER_BYTES, max(size - _LENGTH_BYTES, 0)):
                message = f"{path}: cut, or no safetensors file; copy it again"
                raise ConfigError(message)
            header = json.loads(file.read(length))
        ends = [value["data_offsets"][1] for key, value in header.items() if key != "__metadata__"]
        expected = _LENGTH_BYTES + length + max(ends, default=0)
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror}); copy all files of the model"
        raise ConfigError(message) from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        message = f"{path}: its header is broken; copy it again"
        raise ConfigError(message) from error
    if size != expected:
        message = f"{path}: {size} bytes, expected {expected}; it was cut: copy it again"
        raise ConfigError(message)


def _object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror}); copy all files of the model"
        raise ConfigError(message) from error
    except ValueError as error:
        message = f"{path}: no JSON; copy it again"
        raise ConfigError(message) from error
    if not isinstance(value, dict):
        message = f"{path}: no JSON object; copy it again"
        raise ConfigError(message)
    return value
