"""The JSON that a model is asked for, and what is taken of the JSON that it gives.

One object: the structured description first, since what was looked at closely is captioned better,
then for each language its captions. What is taken is what is whole and as asked; nothing is made
up, repaired or cut to fit.
"""

import copy
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from stages.caption.captioner import Caption
from stages.caption.description import Description

MAX_CAPTION_CHARS = 8000
"""A longer caption is none: a model that repeats itself."""

_FENCE = "```"
_LIMITS = ("maxLength", "maxItems", "maximum", "minimum")
_NOISE = ("title", "description", "default")
_DEPTH = 8


@dataclass(frozen=True)
class Reply:
    """What was taken of an answer.

    Attributes:
        status: `ok`, `truncated` or `invalid_json`.
        captions: In the order asked for.
        structured: The description as JSON, always with the same spaces; null without.
    """

    status: str
    captions: tuple[Caption, ...]
    structured: str | None


def reply_schema(
    variants: Sequence[str], languages: Sequence[str], *, structured: bool, limits: bool
) -> dict[str, Any]:
    """Return the JSON schema of a reply, as strict servers want it.

    Args:
        variants: Captions of a language.
        languages: Tags of BCP 47.
        structured: Whether there is a description.
        limits: State the greatest lengths and numbers. A grammar holds them; some gateways refuse a
            schema that has any.
    """
    text: dict[str, Any] = {"type": "string"}
    if limits:
        text["maxLength"] = MAX_CAPTION_CHARS
    captions = _object(dict.fromkeys(variants, text))
    properties: dict[str, Any] = {}
    definitions: dict[str, Any] = {}
    if structured:
        description = _plain(Description.model_json_schema(), limits)
        definitions = description.pop("$defs")
        properties["description"] = description
    properties["captions"] = _object(dict.fromkeys(languages, captions))
    schema = _object(properties)
    return {**schema, "$defs": definitions} if definitions else schema


def read_reply(
    text: str,
    variants: Sequence[str],
    languages: Sequence[str],
    *,
    structured: bool,
    cut: bool,
) -> Reply:
    """Take from a model's text what is whole and as asked.

    Args:
        text: What the model wrote.
        variants: Captions of a language that were asked for.
        languages: Those that were asked for.
        structured: Whether a description was.
        cut: Whether the model reached its limit.
    """
    value, is_whole = _parsed(text, partial=cut)
    found = [
        Caption(variant, language, words)
        for language in languages
        for variant in variants
        if (words := _caption(value, language, variant))
    ]
    description = None
    if structured and (is_whole or next(reversed(value), None) != "description"):
        # Were it the last thing in a cut text, a list in it may have lost its end.
        description = _description(value.get("description"))
    is_complete = len(found) == len(variants) * len(languages)
    if is_whole and is_complete and (description is not None or not structured):
        status = "ok"
    else:
        status = "truncated" if cut else "invalid_json"
    return Reply(status, tuple(found), description)


def clean(text: str, *, lines: bool = False) -> str:
    """Return a text in NFC without control and format characters, blanks evened out.

    Args:
        text: As the model wrote it.
        lines: Keep the ends of lines.
    """
    normal = unicodedata.normalize("NFC", text)
    parts = normal.splitlines() if lines else [normal]
    shown = (" ".join("".join(map(_shown, part)).split()) for part in parts)
    return "\n".join(shown).strip()


def _shown(character: str) -> str:
    """Return a character that can be seen, or joins such ones in emoji and several scripts."""
    if character.isprintable() or character in "\u200c\u200d":
        return character
    # Format characters, such as those that turn the direction of writing, join nothing.
    return "" if unicodedata.category(character) == "Cf" else " "


def _parsed(text: str, *, partial: bool) -> tuple[dict[str, Any], bool]:
    """Return the object in a text, empty without one, and whether it is whole.

    Of a cut text, only values that are closed count: the last string or number is left out.
    """
    text = _bare(text)
    for allow_partial in (False, True) if partial else (False,):
        try:
            value = from_json(text, allow_partial=allow_partial, allow_inf_nan=False)
        except ValueError:
            continue
        if isinstance(value, dict):
            return value, not allow_partial
    return {}, False


def _bare(text: str) -> str:
    """Return what a model wrote without its thoughts before it and a fence around it."""
    text = text.strip()
    if text.startswith("<think>"):
        text = text.partition("</think>")[2].lstrip()
    if text.startswith(_FENCE):
        text = text.partition("\n")[2].removesuffix(_FENCE)
    return text


def _caption(value: Mapping[str, Any], language: str, variant: str) -> str:
    """Return a caption; empty where there is none worth the name."""
    captions = value.get("captions")
    own = captions.get(language) if isinstance(captions, dict) else None
    text = own.get(variant) if isinstance(own, dict) else None
    if not isinstance(text, str) or len(text) > MAX_CAPTION_CHARS:
        return ""
    words = clean(text)
    return words if any(character.isalnum() for character in words) else ""


def _description(value: Any) -> str | None:
    try:
        description = Description.model_validate(_cleaned(value, _DEPTH))
    except ValidationError:
        return None
    return json.dumps(description.model_dump(), ensure_ascii=False)


def _cleaned(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return clean(value, lines=True)
    if isinstance(value, list) and depth:
        return [_cleaned(item, depth - 1) for item in value]
    if isinstance(value, dict) and depth:
        return {key: _cleaned(item, depth - 1) for key, item in value.items()}
    return value


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _plain(schema: Mapping[str, Any], limits: bool) -> dict[str, Any]:
    """Return pydantic's schema without what strict servers refuse or models need not read."""
    dropped = _NOISE if limits else (*_NOISE, *_LIMITS)

    def walk(value: Any, names: bool = False) -> Any:
        if isinstance(value, list):
            return [walk(item) for item in value]
        if not isinstance(value, dict):
            return value
        return {
            key: walk(item, names=key in ("properties", "$defs") and not names)
            for key, item in value.items()
            if names or key not in dropped
        }

    found: dict[str, Any] = walk(copy.deepcopy(dict(schema)))
    return found
