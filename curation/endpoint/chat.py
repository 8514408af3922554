"""Answers to `/chat/completions`, from hostile JSON to checked values."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from curation.endpoint.outcome import RequestError

MAX_QUOTED = 300
"""Characters of a server's own words that a sentence repeats."""

_FILTERED = frozenset(
    {"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation", "safety"}
)
"""Words with which gateways say that a filter, not the model, refused."""

_SPENT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "insufficient_balance"})
"""Said with status 429 or 400, and yet waiting does not help."""

_MAX_TOKENS = 1 << 31


@dataclass(frozen=True)
class Answer:
    """What a model answered.

    Attributes:
        text: The content; empty where there is none.
        refusal: Why the model or a filter would not answer; null where it did.
        finish_reason: `stop`, `length`, `content_filter`...; empty where it was not said.
        prompt_tokens: Tokens of the prompt, image included; null where the server does not count.
        completion_tokens: Tokens of the answer; null where the server does not count.
        image_tokens: Those of the prompt that stand for images; null where it is not said.
        model: The model as the server names it; empty where it does not.
        system_fingerprint: What else the server says of itself; empty where it does not.
        choice: The first choice as it came, for its log-probabilities.
    """

    text: str
    refusal: str | None
    finish_reason: str
    prompt_tokens: int | None
    completion_tokens: int | None
    image_tokens: int | None
    model: str
    system_fingerprint: str
    choice: Mapping[str, Any] = field(repr=False)


def parse_answer(data: bytes, secret: str) -> Answer:
    """Read the body of an answer with status 200.

    Raises:
        RequestError: It is no answer to a request for a chat completion.
    """
    if data[:512].lstrip().startswith(b"<"):
        raise bad_response("a web page instead of an answer")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise bad_response("no JSON") from None
    if not isinstance(value, dict):
        raise bad_response("no JSON object")
    if value.get("error") and not value.get("choices"):
        # Gateways pass on the failure of whoever is behind them with status 200.
        raise refusal_of(_status_in(value), data, secret)
    choices = value.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise bad_response("no choice in it")
    choice = choices[0]
    message = choice.get("message")
    if not isinstance(message, dict):
        raise bad_response("no message in it")
    finish_reason = _word(choice.get("finish_reason"))
    if finish_reason == "error":
        raise bad_response("generation broke off")
    refusal = message.get("refusal")
    if not isinstance(refusal, str) or not refusal:
        refusal = finish_reason if finish_reason in _FILTERED else None
    usage = value.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("prompt_tokens_details")
    details = details if isinstance(details, dict) else {}
    return Answer(
        text=_content(message.get("content")),
        refusal=refusal,
        finish_reason=finish_reason,
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        image_tokens=_count(details.get("image_tokens")),
        model=_word(value.get("model")),
        system_fingerprint=_word(value.get("system_fingerprint")),
        choice=choice,
    )


def filtered(data: bytes) -> Answer | None:
    """Return an answer for an error that is a filter's refusal of the content; else null."""
    codes = _codes(_object(data))
    found = next((code for code in codes if code in _FILTERED), None)
    if found is None:
        return None
    return Answer("", found, "content_filter", None, None, None, "", "", {})


def refusal_of(status: int, data: bytes, secret: str, wait_s: float | None = None) -> RequestError:
    """Return what an answer with an error status means.

    Args:
        status: Of HTTP, or what stands in an error's `code`.
        data: The body.
        secret: The key, taken out of what is quoted; empty without.
        wait_s: What `Retry-After` said.
    """
    said = _said(data, secret)
    words = f"HTTP {status}{said}"
    if _SPENT & _codes(_object(data)):
        return RequestError("denied", words, "server", status=status)
    if status == 429:
        return RequestError("rate_limited", words, "limit", again=True, wait_s=wait_s)
    if status in (408, 425) or status >= 500:
        return RequestError("service_failed", words, "server", again=True, wait_s=wait_s)
    if 300 <= status < 400:
        words = f"HTTP {status}, a redirect, which is not followed with a key"
        return RequestError("bad_response", words, "server", reason="a redirect")
    if status in (401, 402, 403, 404, 405, 407, 410):
        return RequestError("denied", words, "server", status=status)
    return RequestError("rejected", words, "row", status=status)


def bad_response(reason: str) -> RequestError:
    """Return what an answer means that does not hold what was asked for."""
    return RequestError("bad_response", reason, "server", again=True, reason=reason)


def _object(data: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _status_in(value: Mapping[str, Any]) -> int:
    error = value["error"]
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) and 400 <= code < 600 else 502


def _codes(value: Mapping[str, Any]) -> set[str]:
    """Return the words by which an error names itself, wherever servers put them."""
    error = value.get("error")
    places = [value, error]
    if isinstance(error, dict):
        places += [error.get("innererror"), error.get("metadata")]
    found = [p.get(key) for p in places if isinstance(p, dict) for key in ("code", "type")]
    return {word for word in found if isinstance(word, str)}


def _said(data: bytes, secret: str) -> str:
    """Return what a server says of its error, on one line and without the key."""
    value = _object(data)
    error = value.get("error", value)
    text = error.get("message", error.get("detail")) if isinstance(error, dict) else error
    if not isinstance(text, str):
        return ""
    if secret:
        text = text.replace(secret, "***")
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return f": {line[:MAX_QUOTED]}" if line else ""


def _content(value: Any) -> str:
    """Return the text of a message, which some servers give in parts; it can be encoded."""
    parts = value if isinstance(value, list) else [{"text": value}]
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    whole = "".join(text for text in texts if isinstance(text, str))
    return whole.encode(errors="replace").decode()  # JSON may hold half a character


def _count(value: Any) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_TOKENS
    return value if is_count else None


def _word(value: Any) -> str:
    """Return a name that a server gives itself, short and printable."""
    if not isinstance(value, str):
        return ""
    return "".join(c for c in value[:MAX_QUOTED] if c.isprintable())
