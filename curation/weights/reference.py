"""How weights are named."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

_HUB = re.compile(r"hf://(?P<repository>[\w.-]+/[\w.-]+)@(?P<commit>\S*)")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Reference:
    """A name of weights, taken apart.

    Attributes:
        kind: A `path` on this machine, a `url` that fsspec knows, or a model of the `hub`.
        text: The path, made absolute; or the reference as it was given.
        repository: `<owner>/<name>` on the hub; empty for the other kinds.
        commit: The pinned commit; empty for the other kinds.
    """

    kind: Literal["path", "url", "hub"]
    text: str
    repository: str = ""
    commit: str = ""

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Take a reference apart.

        Raises:
            ValueError: A model of the hub without a commit, or nothing at all.
        """
        if not text.strip():
            message = "expected a path, a URL or hf://OWNER/NAME@COMMIT"
            raise ValueError(message)
        if text.startswith("hf://"):
            found = _HUB.fullmatch(text)
            if found is None or not _COMMIT.fullmatch(found["commit"]):
                message = (
                    "expected hf://OWNER/NAME@COMMIT with the 40 hexadecimal digits of a commit: a "
                    "branch or a tag may move, and with it what the columns mean"
                )
                raise ValueError(message)
            return cls("hub", text, found["repository"], found["commit"])
        if "://" in text and not text.startswith("file://"):
            return cls("url", text.rstrip("/"))
        path = text.removeprefix("file://")
        return cls("path", os.path.abspath(Path(path).expanduser()))  # noqa: PTH100 (keeps links)


def _checked(text: str) -> str:
    return Reference.parse(text).text


WeightsPlace = Annotated[str, AfterValidator(_checked)]
"""A name of weights: checked, made absolute. An optional field states `exclude=True` itself."""

WeightsReference = Annotated[WeightsPlace, Field(exclude=True)]
"""A configuration field that names weights: checked, made absolute, and no part of the meaning."""
