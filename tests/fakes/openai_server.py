"""A server that speaks as OpenAI does, over real HTTP, and can do every bad thing.

It counts tokens, fills any JSON schema with text, and records what it was asked. What it does to a
request is decided by a function of the request, so that one image may be answered and the next one
not.
"""

import asyncio
import base64
import io
import json
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from PIL import Image

PATCH_PX = 28
PROBE_PX = 448
"""Edge of the pictures with which clients try what a server does with pictures."""


@dataclass(frozen=True)
class Asked:
    """One request for a completion.

    Attributes:
        body: Its JSON.
        headers: Its headers, names in lower case.
        images: The files in it, in order.
        text: All text of all messages.
        number: How often exactly this was asked before.
    """

    body: dict[str, Any]
    headers: dict[str, str]
    images: tuple[bytes, ...]
    text: str
    number: int

    @property
    def is_real(self) -> bool:
        """Whether it asks for the captions of an image: no probe and no control."""
        return self.body.get("max_tokens", 0) > 16 and not any(map(_is_probe, self.images))

    def color(self) -> tuple[int, int, int]:
        """Return the colour of the middle of the first image, to the nearest 16."""
        with Image.open(io.BytesIO(self.images[0])) as image:
            picture = image.convert("RGB")
            middle = picture.getpixel((picture.width // 2, picture.height // 2))
        assert isinstance(middle, tuple)
        red, green, blue = (round(channel / 16) * 16 for channel in middle[:3])
        return red, green, blue


Decide = Callable[[Asked], str]
"""What is done to a request: `ok`, or the name of something bad; see `FakeOpenAI._chat`."""


@dataclass
class FakeOpenAI:
    """The server while it runs.

    Attributes:
        decide: What it does to each request.
        models: What it lists; null answers 404.
        key: What it wants as bearer token; empty takes all.
        sees_images: Whether images cost tokens: a model for text alone drops them.
        dumps_images: Whether they are put into the prompt as text, as some gateways do.
        counts_tokens: Whether answers state their use.
        asked: All requests for completions so far.
        in_flight: Requests that are being answered now, and the most there ever were.
        url: What `/chat/completions` is appended to.
    """

    decide: Decide = lambda asked: "ok"
    models: tuple[str, ...] | None = ("fake-vl",)
    key: str = ""
    sees_images: bool = True
    dumps_images: bool = False
    counts_tokens: bool = True
    asked: list[Asked] = field(default_factory=list)
    in_flight: tuple[int, int] = (0, 0)
    url: str = ""
    _seen: Counter[str] = field(default_factory=Counter)

    def real(self) -> list[Asked]:
        """Return the requests that were neither probe nor control."""
        return [asked for asked in self.asked if asked.is_real]

    async def _models(self, request: web.Request) -> web.StreamResponse:
        if self.models is None:
            return web.json_response({"detail": "Not Found"}, status=404)
        if refused := self._check_key(request):
            return refused
        return web.json_response({"data": [{"id": name} for name in self.models]})

    def _check_key(self, request: web.Request) -> web.Response | None:
        if not self.key or request.headers.get("Authorization") == f"Bearer {self.key}":
            return None
        said = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return _error(401, f"Incorrect API key provided: {said}", "invalid_api_key")

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        raw = await request.text()
        body = json.loads(raw)
        images, text = _parts(body)
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = Asked(body, headers, images, text, self._seen[raw])
        self._seen[raw] += 1
        self.asked.append(asked)
        now = self.in_flight[0] + 1
        self.in_flight = (now, max(now, self.in_flight[1]))
        try:
            if refused := self._check_key(request):
                return refused
            what = self.decide(asked)
            odd = _ODD.get(what)
            if odd is not None:
                return await odd(request)
            if what == "slow":
                await asyncio.sleep(0.02)
            return web.json_response(self.completion(asked, what))
        finally:
            self.in_flight = (self.in_flight[0] - 1, self.in_flight[1])

    def completion(self, asked: Asked, what: str) -> Any:
        """Return the JSON of an answer with status 200."""
        if what == "no_choices":
            return {"id": "1", "object": "chat.completion"}
        if what == "a_list":
            return ["what", "is", "this"]
        if what == "error_200":
            return {"error": {"code": 502, "message": "Provider returned error"}}
        message, reason = said(json.dumps(filled(_schema(asked.body))), asked, what)
        answer: dict[str, Any] = {
            "id": "1",
            "object": "chat.completion",
            "model": f"{asked.body['model']}-2026",
            "system_fingerprint": "fp_1",
            "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        }
        if what == "empty_choices":
            answer["choices"] = []
        if self.counts_tokens:
            tokens = self.prompt_tokens(asked, drop=what == "drop_image")
            answer["usage"] = {
                "prompt_tokens": tokens,
                "completion_tokens": len(str(message["content"]).split()),
                "total_tokens": 0,
            }
        return answer

    def prompt_tokens(self, asked: Asked, *, drop: bool = False) -> int:
        """Count a token for every word, and one for every patch of an image."""
        tokens = len(asked.text.split()) + 4 * len(asked.body["messages"])
        for data in asked.images:
            with Image.open(io.BytesIO(data)) as image:
                patches = -(-image.width // PATCH_PX) * -(-image.height // PATCH_PX)
            if self.dumps_images:
                tokens += len(data) // 2
            elif self.sees_images and not drop:
                tokens += patches + 2
        return tokens


@contextmanager
def serve(
    decide: Decide = lambda asked: "ok",
    *,
    context: ssl.SSLContext | None = None,
    **options: Any,
) -> Iterator[FakeOpenAI]:
    """Run a server on a free port until the block is left; over TLS with a `context`."""
    fake = FakeOpenAI(decide, **options)
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    ended = asyncio.Event()

    async def run() -> None:
        application = web.Application(client_max_size=1 << 28)
        application.router.add_post("/v1/chat/completions", fake._chat)
        application.router.add_get("/v1/models", fake._models)
        runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        port = runner.addresses[0][1]
        scheme = "http" if context is None else "https"
        fake.url = f"{scheme}://127.0.0.1:{port}/v1"
        ready.set()
        await ended.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield fake
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
        loop.close()


def said(content: str, asked: Asked, what: str) -> tuple[dict[str, Any], str]:
    """Return the message of an answer, and why it ended."""
    blank = json.dumps(filled(_schema(asked.body), "  "))
    contents: dict[str, tuple[str | None, str]] = {
        "length": (content[: len(content) * 3 // 4], "length"),
        "length_early": (content[:10], "length"),
        "refusal": (None, "stop"),
        "content_filter": ("", "content_filter"),
        "prose": ("Sure! Here is a nice caption for you.", "stop"),
        "other_schema": ('{"caption": 7}', "stop"),
        "empty_captions": (blank, "stop"),
        "empty_content": (None, "stop"),
        "fenced": (f"<think>Well, {{}}.</think>\n```json\n{content}\n```", "stop"),
        **dict.fromkeys(("ok", "slow", "drop_image", "empty_choices"), (content, "stop")),
    }
    text, reason = contents[what]
    message = {"role": "assistant", "content": text}
    if what == "refusal":
        message["refusal"] = "I cannot help with that."
    return message, reason


def filled(schema: Any, text: str = "words", root: Any = None, path: str = "") -> Any:
    """Return a value that a JSON schema allows; strings say where they stand."""
    root = schema if root is None else root
    if schema is None:
        return {"text": text}
    if "$ref" in schema:
        return filled(root["$defs"][schema["$ref"].rpartition("/")[2]], text, root, path)
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    if "anyOf" in schema:
        return filled(schema["anyOf"][0], text, root, path)
    kind = schema["type"]
    if kind == "object":
        return {
            name: filled(schema["properties"][name], text, root, f"{path} {name}")
            for name in schema["properties"]
        }
    if kind == "array":
        return [filled(schema["items"], text, root, path)]
    if kind == "string":
        return f"{text}{path}" if text.strip() else text
    return {"integer": 1, "number": 0.5, "boolean": True, "null": None}[kind]


def _is_probe(data: bytes) -> bool:
    with Image.open(io.BytesIO(data)) as image:
        return image.size == (PROBE_PX, PROBE_PX)


def _schema(body: dict[str, Any]) -> Any:
    wanted = body.get("response_format") or {}
    return wanted.get("json_schema", {}).get("schema")


def _parts(body: dict[str, Any]) -> tuple[tuple[bytes, ...], str]:
    images, texts = [], []
    for message in body["messages"]:
        content: Any = message["content"]
        parts: Any = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for part in parts:
            if part["type"] == "text":
                texts.append(part["text"])
            else:
                url = str(part["image_url"]["url"])
                images.append(base64.b64decode(url.partition(";base64,")[2], validate=True))
    return tuple(images), "\n".join(texts)


def _error(status: int, message: str, code: str = "", **headers: str) -> web.Response:
    value = {"error": {"message": message, "type": "error", "code": code}}
    return web.json_response(value, status=status, headers=headers)


# What is no answer -------------------------------------------------------------------------------


def _status(status: int, message: str, code: str = "", **headers: str) -> Any:
    async def answer(request: web.Request) -> web.StreamResponse:
        return _error(status, message, code, **headers)

    return answer


def _text(text: str, kind: str = "application/json", status: int = 200) -> Any:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(text=text, content_type=kind, status=status)

    return answer


async def _hang(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(600)
    raise AssertionError


async def _trickle(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    for _ in range(6000):
        await answer.write(b" ")
        await asyncio.sleep(0.1)
    return answer


async def _cut(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Length": "1000"})
    await answer.prepare(request)
    await answer.write(b'{"choices": [')
    assert request.transport is not None
    request.transport.close()
    return answer


async def _hang_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def _huge(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    for _ in range(64):
        await answer.write(b" " * (1 << 20))
    return answer


async def _redirect(request: web.Request) -> web.StreamResponse:
    raise web.HTTPTemporaryRedirect(location="http://127.0.0.1:9/elsewhere")


_ODD: dict[str, Any] = {
    "400": _status(400, "This model's maximum context length is 4096 tokens."),
    "401": _status(401, "Incorrect API key provided."),
    "403": _status(403, "Your input was flagged."),
    "404": _status(404, "The model does not exist.", "model_not_found"),
    "413": _text("<h1>413 Request Entity Too Large</h1>", "text/html", 413),
    "429": _status(429, "Slow down."),
    "429_soon": _status(429, "Slow down.", **{"Retry-After": "0"}),
    "429_second": _status(429, "Slow down.", **{"Retry-After": "1"}),
    "429_late": _status(429, "Come back tomorrow.", **{"Retry-After": "86400"}),
    "quota": _status(429, "You exceeded your current quota.", "insufficient_quota"),
    "500": _status(500, "Internal server error."),
    "503": _text("<html>Service Unavailable</html>", "text/html", 503),
    "filter_400": _status(400, "The response was filtered.", "content_filter"),
    "hang": _hang,
    "trickle": _trickle,
    "cut": _cut,
    "hang_up": _hang_up,
    "not_json": _text("{'choices': ["),
    "html": _text("<!doctype html><title>Sign in</title>", "text/html"),
    "huge": _huge,
    "redirect": _redirect,
}
