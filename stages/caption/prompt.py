"""Prompt files: shipped ones by name, others by path; rendered in a sandbox."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import jinja2
import jinja2.sandbox

from curation.config import Config, nearest, parse_yaml, read_text, validate
from curation.errors import ConfigError, MissingWeightsError
from stages.caption.reply import clean

MAX_FILE_CHARS = 100_000
_SUFFIX = ".yaml"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_ESCAPED = str.maketrans({c: f"\\u{ord(c):04x}" for c in "<>[]&`"})
"""Characters by which delimiters, and the special tokens of chat templates, are made."""


class PromptFile(Config):
    """What a prompt file holds; see `prompts/describe.yaml`.

    Attributes:
        format: 1.
        system: Template of the system message.
        user: Template of the user's text, which stands behind the image.
        variants: Kind of caption -> how it is worded.
        languages: Tag of BCP 47 -> what the language is called in the prompt's own language.
    """

    format: Literal[1]
    system: str
    user: str
    variants: dict[str, str]
    languages: dict[str, str] = {}


class Prompt:
    """A checked prompt file.

    Args:
        text: Its content.
        where: Its name, for errors.

    Raises:
        ConfigError: It is no prompt file, or a template in it is broken.
    """

    def __init__(self, text: str, where: str) -> None:
        self._where = where
        if len(text) > MAX_FILE_CHARS:
            message = f"{where}: more than {MAX_FILE_CHARS} characters are no prompt file"
            raise ConfigError(message)
        self.file = validate(PromptFile, parse_yaml(text, where), where)
        self.digest = hashlib.sha256(text.encode()).hexdigest()
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            undefined=jinja2.StrictUndefined,
            autoescape=False,  # this is no HTML: facts are escaped for what reads them
            trim_blocks=True,
            lstrip_blocks=True,
        )
        try:
            self._system = environment.from_string(self.file.system)
            self._user = environment.from_string(self.file.user)
        except jinja2.TemplateError as error:
            raise self._broken(error) from error

    def check_asked(self, variants: Sequence[str], where: str) -> None:
        """Refuse variants that the file does not word.

        Raises:
            ConfigError: Names the first, and those that there are.
        """
        for variant in variants:
            if variant not in self.file.variants:
                known = list(self.file.variants)
                hint = nearest(variant, known) or f"; known: {', '.join(known)}"
                message = f"{where}.variants: {self._where} words no {variant!r}{hint}"
                raise ConfigError(message)

    def system(
        self,
        variants: Sequence[str],
        languages: Sequence[str],
        *,
        structured: bool,
        schema: Mapping[str, Any] | None,
    ) -> str:
        """Render the system message; the same for every image, so that servers cache it.

        Args:
            variants: Kinds of captions asked for.
            languages: Tags asked for.
            structured: Whether the description is.
            schema: The JSON schema, to be spelt out; null where the server holds the model to it.
        """
        return self._rendered(
            self._system,
            variants=[{"name": v, "wording": self.file.variants[v]} for v in variants],
            languages=[{"tag": t, "name": self.file.languages.get(t, t)} for t in languages],
            structured=structured,
            schema=json.dumps(schema, ensure_ascii=False) if schema is not None else "",
        )

    def user(self, facts: Mapping[str, str]) -> str:
        """Render the text that goes with an image.

        Args:
            facts: Name -> what is known; from `fact`, so that nothing in it ends the JSON.
        """
        known = json.dumps(dict(facts), ensure_ascii=False).translate(_ESCAPED) if facts else ""
        return self._rendered(self._user, facts=known)

    @cached_property
    def bare_user(self) -> str:
        """The text that goes with an image of which nothing is known."""
        return self.user({})

    def _rendered(self, template: jinja2.Template, **values: Any) -> str:
        try:
            return template.render(values).strip()
        except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> ConfigError:
        line = getattr(error, "lineno", None)
        place = f", line {line} of a template" if line else ""
        return ConfigError(f"{self._where}{place}: {error}")


def fact(text: str | None, limit: int) -> str:
    """Return hostile text fit to be a fact: visible characters in short lines, cut at `limit`."""
    shown = clean((text or "")[: 4 * limit], lines=True)
    return shown if len(shown) <= limit else f"{shown[: limit - 1].rstrip()}\u2026"


def read_prompt(name: str) -> str:
    """Return the content of a prompt file, by the name of a shipped one or by path.

    Raises:
        MissingWeightsError: There is no such file here.
        ConfigError: None of that name comes with Longtail, or the file cannot be read.
    """
    if not _NAME.fullmatch(name):
        path = Path(name).expanduser()
        if not path.exists():
            message = f"{path}: no such file; name a prompt file, or one of {shipped_prompts()}"
            raise MissingWeightsError(message)
        return read_text(path)
    file = resources.files("stages.caption") / "prompts" / f"{name}{_SUFFIX}"
    if not file.is_file():
        known = shipped_prompts()
        hint = nearest(name, known) or f"; shipped: {', '.join(known)}"
        message = f"no prompt {name!r} comes with Longtail{hint}; a path has a `/` or a `.` in it"
        raise ConfigError(message)
    return file.read_text(encoding="utf-8")


def shipped_prompts() -> list[str]:
    """Return the names of the prompt files that come with the package."""
    folder = resources.files("stages.caption") / "prompts"
    names = (Path(file.name) for file in folder.iterdir())
    return sorted(name.stem for name in names if name.suffix == _SUFFIX)
