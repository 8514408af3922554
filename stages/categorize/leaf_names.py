"""Names for leaves from a vision-language model that is shown their pictures.

What a model says is hostile input like any other: a name is made of letters only, lower case, at
most four words. Where the model says nothing usable, the leaf keeps the name that words gave it,
and how many leaves that were is kept with the head.
"""

import base64
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from curation.endpoint import Answer, EndpointConfig, Failed, connect
from curation.errors import ConfigError
from curation.pixels.encode import encode_jpeg
from stages.categorize.categorizer import Leaf
from stages.categorize.leaf_sheets import PICTURE_PX
from stages.categorize.names import MAX_LETTERS

MAX_WORDS = 4
_TOKENS = 64
_LEAST_TOKENS = 16  # that a picture costs
_AT_ONCE = 256  # requests that wait for their turn, with their pictures
_RUNS = re.compile(r"[^\W\d_]+")

_PROMPT = """\
These pictures are the most typical ones of one category of a large collection, found by a program
that puts pictures together that look alike. Name what they have in common, as a category for
people: a noun phrase of one to four English words, lower case, as specific as is true of all of
them. Answer with JSON: {"name": "..."}"""
_WORDS = """
Words that their files and captions have in common, which may be wrong: """

_FORMAT: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {
        "name": "category",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"name": {"type": "string"}},
            "required": ["name"],
            "additionalProperties": False,
        },
    },
}


@dataclass(frozen=True)
class NamingModel:
    """The model that names leaves.

    Attributes:
        endpoint: Where it is.
        model: Its name.
        protocols: fsspec protocols that originals left in place may be read by.
    """

    endpoint: EndpointConfig
    model: str
    protocols: tuple[str, ...]


@dataclass(frozen=True)
class Named:
    """Leaves with names.

    Attributes:
        leaves: In order.
        num_named: Leaves that the model named; the others kept their names.
        reasons: Why not -> how many.
    """

    leaves: tuple[Leaf, ...]
    num_named: int
    reasons: dict[str, int]


def name_leaves(
    leaves: Sequence[Leaf],
    sheets: Iterable[bytes | None],
    naming: NamingModel,
    say: Callable[[str], None],
) -> Named:
    """Ask a model for the name of each leaf; only the last part of a name is its own.

    Args:
        leaves: As words named them.
        sheets: For each leaf a JPEG of its pictures, or null.
        naming: The model.
        say: Takes a line now and then.

    Raises:
        EndpointError: The server is at fault.
        ConfigError: What it needs is missing, or the model sees no pictures.
    """
    client = connect(naming.endpoint, naming.model)
    try:
        say(client.probe())
        _prove(client, naming.model, say)
        answers: list[Answer | Failed | None] = []
        waiting: list[tuple[Leaf, bytes | None]] = []
        for pair in zip(leaves, sheets, strict=True):
            waiting.append(pair)
            if len(waiting) == _AT_ONCE:
                answers += _ask(client, waiting)
                waiting.clear()
                say(f"asked for {len(answers):,} of {len(leaves):,} names")
        answers += _ask(client, waiting)
    finally:
        client.close()
    return _with_names(leaves, answers)


def clean_name(text: str) -> str:
    """Return the words of an answer as a name: letters and spaces, lower case; or nothing."""
    plain = unicodedata.normalize("NFKC", text[:1000]).casefold()
    words = [word for word in _RUNS.findall(plain) if len(word) <= MAX_LETTERS]
    return " ".join(words) if 1 <= len(words) <= MAX_WORDS else ""


def _ask(client: Any, waiting: Sequence[tuple[Leaf, bytes | None]]) -> list[Answer | Failed | None]:
    shown = [(leaf, sheet) for leaf, sheet in waiting if sheet is not None]
    found = iter(client.complete_all([_request(leaf, sheet) for leaf, sheet in shown]))
    return [None if sheet is None else next(found) for _, sheet in waiting]


def _prove(client: Any, model: str, say: Callable[[str], None]) -> None:
    """Refuse a model whose prompt grows by nothing when a picture is put in: it sees none."""
    grey = encode_jpeg(np.full((2 * PICTURE_PX, 2 * PICTURE_PX, 3), 128, np.uint8))
    bodies = [_request(Leaf("", ""), grey), _request(Leaf("", ""), grey)]
    del bodies[1]["messages"][0]["content"][0]
    found = client.complete_all(bodies)
    counts = [
        answer.prompt_tokens
        for answer in found
        if isinstance(answer, Answer) and answer.prompt_tokens is not None
    ]
    if len(counts) < len(found):
        say("the server counts no tokens: nothing shows that the model sees the pictures")
    elif counts[0] - counts[1] < _LEAST_TOKENS:
        message = (
            f"{model}: a picture adds {counts[0] - counts[1]} tokens to its prompt, so it sees "
            "none; name a vision-language model"
        )
        raise ConfigError(message)


def _request(leaf: Leaf, sheet: bytes) -> dict[str, Any]:
    own = leaf.path.rpartition("/")[2]
    words = [part for part in leaf.name.split("/") if part != own]
    text = _PROMPT + (_WORDS + ", ".join(words) if words else "")
    url = f"data:image/jpeg;base64,{base64.b64encode(sheet).decode()}"
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": text}]
    return {
        "messages": [{"role": "user", "content": content}],
        "response_format": _FORMAT,
        "max_tokens": _TOKENS,
        "temperature": 0,
        "seed": 0,
    }


def _with_names(leaves: Sequence[Leaf], answers: Sequence[Answer | Failed | None]) -> Named:
    taken: set[str] = set()
    named: list[Leaf] = []
    reasons: dict[str, int] = {}
    for leaf, answer in zip(leaves, answers, strict=True):
        own, reason = _read(answer)
        above = leaf.name.rpartition("/")[0]
        if reason:
            reasons[reason] = reasons.get(reason, 0) + 1
            own = leaf.name.rpartition("/")[2]
        full = f"{above}/{own}" if above else own
        if full in taken:  # a sibling is called so: told apart as words are, by the path
            full = f"{full} {leaf.path.rpartition('/')[2]}"
        taken.add(full)
        named.append(Leaf(leaf.path, full))
    return Named(tuple(named), len(leaves) - sum(reasons.values()), reasons)


def _read(answer: Answer | Failed | None) -> tuple[str, str]:
    """Return the name, or why there is none."""
    if answer is None:
        return "", "no picture"
    if isinstance(answer, Failed):
        return "", answer.error.partition(":")[0]
    if answer.refusal is not None:
        return "", "refused"
    try:
        value = json.loads(answer.text)
        name = clean_name(value["name"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return "", "no name in the answer"
    return (name, "") if name else ("", "no name in the answer")
