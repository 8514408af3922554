"""Probes: questions with texts that say yes and texts that say no."""

import functools
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from curation.config import Config, parse_yaml, read_text, validate
from curation.fingerprint import digest

SHIPPED = Path(__file__).parent / "probes.yaml"

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
RESERVED = ("error",)

_Text = Annotated[str, Field(min_length=1, max_length=300)]
_Texts = Annotated[tuple[_Text, ...], Field(min_length=1, max_length=100)]


class Probe(Config):
    """One question.

    Attributes:
        asks: What a yes means, for the column's description; no part of the meaning of a value.
        positive: Texts of pictures for which the answer is yes.
        negative: Texts of the same kinds of pictures for which it is no.
    """

    asks: _Text = Field(default="the positive texts fit better", exclude=True)
    positive: _Texts
    negative: _Texts

    def digest(self) -> str:
        """Return the digest of what decides an answer."""
        return digest([list(self.positive), list(self.negative)])


class ProbeFile(Config):
    """The shipped probes, as they stand in their file."""

    format: Literal[1]
    probes: dict[str, Probe]


@functools.cache
def shipped_probes() -> dict[str, Probe]:
    """Return name -> probe of those that come with Longtail."""
    value: dict[str, Any] = parse_yaml(read_text(SHIPPED), str(SHIPPED))
    return validate(ProbeFile, value, str(SHIPPED)).probes
