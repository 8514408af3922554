"""The base of every configuration, and YAML files read with errors that help."""

import difflib
import io
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from curation.errors import ConfigError
from curation.urls import redacted

T = TypeVar("T")


class Config(BaseModel):
    """A frozen value read from YAML; unknown keys are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=()
    )


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML 1.1 without duplicate keys, which the standard loader drops silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen:
                message = f"line {key_node.start_mark.line + 1}: {key!r} stands here twice"
                raise ConfigError(message)
            if isinstance(key, str):
                seen.add(key)
        return super().construct_mapping(node, deep)


def read_text(path: Path) -> str:
    """Read a configuration file.

    Raises:
        ConfigError: It is missing, a folder, unreadable, or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        message = f"{path}: no such file; there are examples in configs/ and configs/train/"
        raise ConfigError(message) from error
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path}: cannot be read as a UTF-8 text file"
        raise ConfigError(message) from error


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """Read a YAML mapping; `where` names the file in errors.

    Raises:
        ConfigError: Not YAML, a key that stands twice, or not a mapping.
    """
    try:
        value = yaml.load(io.StringIO(text), Loader=_UniqueKeyLoader)  # noqa: S506 (a SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "not YAML"
        message = f"{where}{line}: {problem}"
        raise ConfigError(message) from error
    except ConfigError as error:
        message = f"{where}: {error}"
        raise ConfigError(message) from error
    if not isinstance(value, dict):
        message = f"{where}: expected keys and values, found {type(value).__name__}"
        raise ConfigError(message)
    if odd := [key for key in value if not isinstance(key, str)]:
        message = f"{where}: the key {odd[0]!r} is no text; put it in quotes"
        raise ConfigError(message)
    return value


def apply_overrides(value: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return `value` with each `a.b.c=YAML` of `overrides` set, for `--set`.

    Raises:
        ConfigError: An override has no `=`, its value is not YAML, or its path runs through
            something that is no mapping.
    """
    result: dict[str, Any] = TypeAdapter(dict[str, Any]).validate_python(value).copy()
    for override in overrides:
        path, separator, text = override.partition("=")
        override = redacted(override)
        if not separator or not path.strip("."):
            message = f"--set {override}: expected PATH=VALUE, as in stages.dedup.radius=6"
            raise ConfigError(message)
        keys = path.split(".")
        node = result
        for key in keys[:-1]:
            child = node.get(key)
            if child is not None and not isinstance(child, dict):
                message = f"--set {override}: {key} is no mapping"
                raise ConfigError(message)
            node[key] = dict(child or {})
            node = node[key]
        try:
            node[keys[-1]] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            message = f"--set {override}: the value is not YAML; put text in quotes"
            raise ConfigError(message) from error
    return result


def nearest(name: str, known: Sequence[str]) -> str:
    """Return ` (did you mean X?)` for the known name closest to `name`, or nothing."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""


def known_keys(config_type: Any) -> list[str]:
    """Return every key that a configuration class accepts."""
    if isinstance(config_type, type) and issubclass(config_type, BaseModel):
        return sorted(field.alias or name for name, field in config_type.model_fields.items())
    return sorted({key for option in get_args(config_type) for key in known_keys(option)})


def validate(config_type: type[T], value: Mapping[str, Any], where: str) -> T:
    """Check `value` against `config_type`; `where` is the path that errors begin with.

    Raises:
        ConfigError: One sentence for each problem, with the path and, for an unknown key, the
            nearest known one.
    """
    try:
        return TypeAdapter(config_type).validate_python(dict(value))
    except ValidationError as error:
        lines = [_sentence(config_type, detail, where) for detail in error.errors()]
        raise ConfigError("\n".join(lines)) from error


def _sentence(config_type: Any, detail: ErrorDetails, where: str) -> str:
    location = [str(part) for part in detail["loc"]]
    shown, _ = _locate(config_type, location)
    path = ".".join([where, *shown]) if where else ".".join(shown)
    if detail["type"] == "extra_forbidden":
        _, models = _locate(config_type, location[:-1])
        keys = sorted({key for model in models for key in known_keys(model)})
        hint = nearest(location[-1], keys) or f"; known keys: {', '.join(keys)}"
        return f"{path}: unknown key{hint}"
    found = detail.get("input")
    if detail["type"] == "missing":
        return f"{path}: this key is required"
    if detail["type"] == "union_tag_invalid":
        tag, key = detail["ctx"]["tag"], detail["ctx"]["discriminator"].strip("'")
        tags = detail["ctx"]["expected_tags"].replace("'", "").split(", ")
        return f"{path}.{key}: expected one of {', '.join(tags)}, found {tag!r}{nearest(tag, tags)}"
    reason = detail["msg"].removeprefix("Value error, ")
    # YAML reads 2026, 1e3 and yes as numbers and truth, which names and dates are not meant to be.
    is_bare = detail["type"] == "string_type" and isinstance(found, bool | int | float | date)
    advice = "; put it in quotes" if is_bare else ""
    return redacted(f"{path}: {reason}, found {found!r} ({type(found).__name__}){advice}")


def _locate(config_type: Any, location: Sequence[str]) -> tuple[list[str], list[type[BaseModel]]]:
    """Follow pydantic's location of an error: the path as the user wrote it, and the classes there.

    Pydantic puts the tag that chose a class of a union into its locations; nobody wrote it.
    """
    shown: list[str] = []
    models = _models(config_type)
    for part in location:
        fields = [m.model_fields[part] for m in models if part in m.model_fields]
        tagged = [m for m in models if part in _tags(m)]
        if not fields and tagged:
            models = tagged
            continue
        shown.append(part)
        if fields:
            models = _models(fields[0].annotation)
    return shown, models


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Return every configuration class in a type, however deep in unions and containers."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for option in get_args(annotation) for model in _models(option)]


def _tags(model: type[BaseModel]) -> set[str]:
    """Return the texts that may choose this class out of a union."""
    return {
        tag
        for field in model.model_fields.values()
        if get_origin(field.annotation) is Literal
        for tag in get_args(field.annotation)
    }
