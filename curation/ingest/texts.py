"""Captions, licences and further facts that come beside an image, as text that can be kept.

They are hostile input: anything here may be of any size, depth or encoding. What cannot be kept is
left out, and `metadata` says so under `sidecar_error`; the image is taken in all the same.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

MAX_SIDECAR_BYTES = 1 << 20
"""A side-car above this is not read."""

SIDECAR_ERROR = "sidecar_error"
"""Key of `metadata` that says what could not be kept, and why."""


@dataclass(frozen=True, slots=True)
class Texts:
    """What is kept of an image's texts."""

    alt_text: str | None = None
    license: str | None = None
    metadata: str | None = None


def read_sidecars(parts: Mapping[str, bytes | None], caption_key: str, license_key: str) -> Texts:
    """Read the side-cars of one image.

    A `.txt` is the caption; without one, the text at `caption_key` of the JSON object is. The whole
    object is the metadata.

    Args:
        parts: Ending -> the file's bytes; null where it was too large to be read.
        caption_key: Key of the JSON object that holds a caption.
        license_key: Key of the JSON object that holds a licence.
    """
    problems: list[str] = []
    caption: str | None = None
    facts: dict[str, Any] = {}
    for ending, data in sorted(parts.items()):
        try:
            text = _decode(data)
            if ending == "txt":
                caption = text.strip()
            else:
                facts = _object(text)
        except ValueError as error:
            problems.append(f"{ending}: {error}")
    if problems:
        facts = {**facts, SIDECAR_ERROR: "; ".join(problems)}
    return texts_of(facts, caption_key, license_key, caption)


def texts_of(
    facts: Mapping[str, Any], caption_key: str, license_key: str, caption: str | None = None
) -> Texts:
    """Return the caption, the licence and all facts of a mapping of plain values."""
    if caption is None:
        caption = as_text(facts.get(caption_key))
    return Texts(caption or None, as_text(facts.get(license_key)) or None, to_json(facts))


def as_text(value: object) -> str | None:
    """Return a text or number as text that UTF-8 can hold; null for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return str(value).encode("utf-8", "replace").decode()


def to_json(facts: Mapping[str, Any]) -> str | None:
    """Write facts as a JSON object; null for none. Numbers that are not finite become null."""
    if not facts:
        return None
    try:
        plain = _plain(facts)
    except RecursionError:  # Python's own depth, which a parser in C may exceed
        plain = {SIDECAR_ERROR: "nested too deeply"}
    try:
        text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which only an escape can hold
        text = json.dumps(plain, separators=(",", ":"))
    return text


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return str(value)
    assert value is None or isinstance(value, str | int), type(value)
    return value


def _decode(data: bytes | None) -> str:
    if data is None:
        message = f"more than {MAX_SIDECAR_BYTES} bytes"
        raise ValueError(message)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        message = "not UTF-8"
        raise ValueError(message) from None


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text, parse_constant=lambda name: None)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        message = "no JSON object"
        raise ValueError(message)
    return value
