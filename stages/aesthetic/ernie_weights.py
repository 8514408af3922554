"""The released files of weights under other names, without reading a number of them.

Nothing is computed: keys get other names, and the projection that makes queries, keys and values at
once is three keys over consecutive bytes. So a file is copied as it is, under a new header, in
constant memory.

Source: the released `model.safetensors.index.json`; transformers,
    `InternVLForConditionalGeneration`; the format of safetensors.
"""

import json
import re
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from curation.errors import ConfigError

INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_MAX_HEADER_BYTES = 100_000_000  # as the library has it
_BLOCK_BYTES = 1 << 22

_VISION_LAYER = {
    "attn.proj": "attention.projection_layer",
    "attn.q_norm": "attention.q_norm",
    "attn.k_norm": "attention.k_norm",
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
    "ls1": "lambda_1",
    "ls2": "lambda_2",
}
_WHOLE = {
    "vision_model.embeddings.class_embedding": "vision_tower.embeddings.cls_token",
    "vision_model.embeddings.position_embedding": "vision_tower.embeddings.position_embeddings",
}
_PREFIXES = {
    "vision_model.embeddings.patch_embedding.": (
        "vision_tower.embeddings.patch_embeddings.projection."
    ),
    "mlp1.0.": "multi_modal_projector.layer_norm.",
    "mlp1.1.": "multi_modal_projector.linear_1.",
    "mlp1.3.": "multi_modal_projector.linear_2.",
    "language_model.": "language_model.",
}
_IN_LAYER = re.compile(r"vision_model\.encoder\.layers\.(\d+)\.([a-z0-9_.]+?)(\.weight|\.bias)?")


def weight_files(folder: Path) -> list[str]:
    """Return the names of a checkpoint's files of weights.

    Raises:
        ConfigError: One that the index lists is not there.
    """
    if (folder / INDEX).is_file():
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        names = sorted(set(index["weight_map"].values()))
    else:
        names = [_SINGLE]
    for name in names:
        if Path(name).name != name or not (folder / name).is_file():
            message = (
                f"{folder}: {name} is not there; expected the safetensors files of the release, "
                f"those that {INDEX} lists"
            )
            raise ConfigError(message)
    return names


def rewrite(source: Path, target: Path, layers: set[int]) -> list[str]:
    """Copy a file of weights under a new header; return its keys.

    Args:
        source: A released file.
        target: Where the copy goes.
        layers: Numbers of the layers that the vision tower has.

    Raises:
        ConfigError: It is cut, no safetensors file, or has tensors of another model.
    """
    with source.open("rb") as file, target.open("wb") as out:
        header = _header(file, source)
        renamed = dict(
            pair for key, tensor in header.items() for pair in _rename(key, tensor, layers, source)
        )
        data = json.dumps({"__metadata__": {"format": "pt"}, **renamed}).encode()
        data += b" " * (-len(data) % 8)
        out.write(struct.pack("<Q", len(data)) + data)
        shutil.copyfileobj(file, out, _BLOCK_BYTES)
    return list(renamed)


def _header(file: BinaryIO, source: Path) -> dict[str, Any]:
    """Read a header, and see that the file has all bytes that it speaks of."""
    num_bytes = source.stat().st_size
    length = int.from_bytes(file.read(8), "little")
    try:
        if length > min(num_bytes, _MAX_HEADER_BYTES):
            message = "too long"
            raise ValueError(message)
        header: dict[str, Any] = json.loads(file.read(length))
        header.pop("__metadata__", None)
        end = max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        message = f"{source}: is no safetensors file; copy it again from the release"
        raise ConfigError(message) from error
    if num_bytes != 8 + length + end:
        message = (
            f"{source}: has {num_bytes} bytes, expected {8 + length + end}; copy it again from the "
            "release"
        )
        raise ConfigError(message)
    return header


def _rename(
    key: str, tensor: Mapping[str, Any], layers: set[int], source: Path
) -> list[tuple[str, Mapping[str, Any]]]:
    if key in _WHOLE:
        return [(_WHOLE[key], tensor)]
    for old, new in _PREFIXES.items():
        if key.startswith(old):
            return [(new + key.removeprefix(old), tensor)]
    found = _IN_LAYER.fullmatch(key)
    if found is not None and int(found[1]) in layers:
        layer = f"vision_tower.encoder.layer.{found[1]}."
        ending = found[3] or ""
        if found[2] == "attn.qkv":
            return [
                (f"{layer}attention.{name}_proj{ending}", part)
                for name, part in zip("qkv", _thirds(tensor), strict=True)
            ]
        if found[2] in _VISION_LAYER:
            return [(f"{layer}{_VISION_LAYER[found[2]]}{ending}", tensor)]
    message = (
        f"{source}: has a tensor {key!r} that an InternVL model of its config.json has not; name "
        "the files of ERNIE-Image-Aes or ArtiMuse as released"
    )
    raise ConfigError(message)


def _thirds(tensor: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Cut a tensor along its first dimension, whose rows follow each other in the file."""
    rows, *rest = tensor["shape"]
    begin, end = tensor["data_offsets"]
    step = (end - begin) // 3
    return [
        {
            "dtype": tensor["dtype"],
            "shape": [rows // 3, *rest],
            "data_offsets": [begin + part * step, begin + (part + 1) * step],
        }
        for part in range(3)
    ]
