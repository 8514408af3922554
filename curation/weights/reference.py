"""How weights are named."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from curation.errors import ConfigError
from curation.urls import check_url

_HUB = re.compile(r"hf://(?P<repository>[\w.-]+/[\w.-]+)@(?P<commit>[^/]*)(?:/(?P<path>.*))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_LOCAL = ("file://", "local://")


@dataclass(frozen=True)
class Reference:
    """A name of weights, taken apart.

    Attributes:
        kind: A `path` on this machine, a `url` that fsspec knows, or a model of the `hub`.
        text: The path, made absolute; or the reference as it was given.
        repository: `<owner>/<name>` on the hub; empty for the other kinds.
        commit: The pinned commit; empty for the other kinds.
        path: The file or folder within the repository; empty for all of it.
    """

    kind: Literal["path", "url", "hub"]
    text: str
    repository: str = ""
    commit: str = ""
    path: str = ""

    @property
    def name(self) -> str:
        """The last part of the name, without what follows a `?`: what a file or folder is called.

        Not empty, and no `.` or `..`.
        """
        last = (self.path or self.repository or self.text).rpartition("/")[2]
        return last.partition("?")[0].strip(".")[-100:] or "weights"

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Take a reference apart.

        Raises:
            ValueError: A model of the hub without a commit, a URL with credentials in it or a
                chained one, a home that nobody has, or nothing at all.
        """
        if not text.strip():
            message = "expected a path, a URL or hf://OWNER/NAME@COMMIT"
            raise ValueError(message)
        try:
            check_url(text, "weights")
        except ConfigError as error:
            raise ValueError(str(error)) from error
        if text.startswith("hf://"):
            return _of_hub(text)
        for scheme in _LOCAL:
            if text.startswith(scheme):
                return cls("path", _absolute(text.removeprefix(scheme)))
        if "://" not in text:
            return cls("path", _absolute(text))
        if "::" in text:
            message = "chained URLs are not accepted; name one file or folder"
            raise ValueError(message)
        return cls("url", text.rstrip("/"))


def _of_hub(text: str) -> Reference:
    found = _HUB.fullmatch(text.rstrip("/"))
    commit = found["commit"].lower() if found else ""
    if found is None or not _COMMIT.fullmatch(commit):
        message = (
            "expected hf://OWNER/NAME@COMMIT, and /PATH for one file or folder of it, with the 40 "
            "hexadecimal digits of a commit: a branch or a tag may move, and with it what the "
            "columns mean"
        )
        raise ValueError(message)
    path = found["path"] or ""
    if path and not set(path.split("/")).isdisjoint({"", ".", ".."}):
        message = f"{path} is no path within a repository"
        raise ValueError(message)
    return Reference("hub", text.rstrip("/"), found["repository"], commit, path)


def _absolute(path: str) -> str:
    try:
        home = Path(path).expanduser()
    except RuntimeError as error:
        message = "there is no such home folder"
        raise ValueError(message) from error
    return os.path.abspath(home)  # noqa: PTH100 (keeps links)


def _checked(text: str) -> str:
    return Reference.parse(text).text


WeightsPlace = Annotated[str, AfterValidator(_checked)]
"""A name of weights: checked, made absolute. An optional field states `exclude=True` itself."""

WeightsReference = Annotated[WeightsPlace, Field(exclude=True)]
"""A configuration field that names weights: checked, made absolute, and no part of the meaning."""
