"""One thing that was looked at."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Check:
    """What was found.

    Attributes:
        subject: What was looked at, in a word or two.
        state: `ok`; `missing`: something that only some pipelines need; `wrong`: must be mended.
        found: What there is.
        advice: What to do; empty where nothing is to be done.
    """

    subject: str
    state: Literal["ok", "missing", "wrong"]
    found: str
    advice: str = ""
