"""The captioner `openai`: a vision-language model behind an OpenAI-compatible endpoint."""

import asyncio
import re
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, JsonValue, field_validator

from curation.endpoint import Answer, EndpointConfig, Failed, check_ready, connect
from curation.errors import EndpointError, LongtailError
from curation.pipeline.stage import Finding, Resources, Stage
from curation.pixels import PixelSpec
from curation.urls import redacted
from schemas.caption import CAPTION_MODEL
from schemas.error_codes import row_error
from stages.caption.captioner import CaptionConfig, Captioner, Outcome, at_once
from stages.caption.memory import Memory, key_of
from stages.caption.prompt import Prompt, fact, read_prompt
from stages.caption.proof import Proof, prove
from stages.caption.reply import read_reply, reply_schema
from stages.caption.request import (
    ImageFormat,
    assert_shows,
    encoded,
    messages,
    probe_pictures,
    response_format,
)

if TYPE_CHECKING:
    from curation.endpoint.client import Client

FACT_COLUMNS = {
    "alt_text": "images.alt_text",
    "metadata": "images.metadata",
    "category": "categorize.name",
    "ocr": "ocr.text",
}
"""Switch in the configuration -> the column that the prompt is told of."""

_FACT_NAMES = {
    "alt_text": "text_beside_image",
    "metadata": "facts_of_the_source",
    "category": "category_by_a_program",
    "ocr": "writing_read_by_a_program",
}

_PROBE_TOKENS = 16  # some gateways take no request for fewer
_PROVE_AGAIN_S = 60.0
_MEMORY_CHARS = 64 << 20
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_OWN_KEYS = frozenset(
    {
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "model",
        "n",
        "response_format",
        "seed",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
    }
)


class OpenAIConfig(CaptionConfig):
    """A model that a server offers, and what it is asked.

    Attributes:
        model: The model's name: what the columns mean, and the name that is sent unless
            `endpoint.served_model` has another.
        revision: Which state of the model it is, in your words: a commit, a date. Change it when
            the server got other weights; nothing else can know.
        prompt: Name of a prompt file that comes with Longtail, or the path of your own. Its content
            enters the fingerprint, its place does not.
        variants: Captions of each language, of those that the prompt file words.
        languages: Languages of the captions, as tags of BCP 47.
        structured: Ask for the structured description too.
        format: How the server is told of the JSON: `json_schema`, which holds the model to it;
            `json_object` or `text` for servers without that, and the prompt spells the schema out.
        schema_limits: Put the greatest lengths into the schema. vLLM holds a model to them; some
            gateways refuse such a schema.
        alt_text: Tell the model the text that came with the image.
        metadata: Tell it what else the source says of the image.
        category: Tell it the names of the image's category; needs a `categorize` stage.
        ocr: Tell it the text that was read in the image; needs an `ocr` stage.
        max_fact_chars: Characters of each of these, at most.
        size_px: Longer edge of the image that is sent; smaller images are not enlarged.
        image_format: `jpeg`, or `png` without loss.
        quality: Of the JPEG.
        max_pixels: Width times height above which a file is refused as a bomb.
        temperature: 0 for the likeliest words; null to send none, for models that take no other
            than their own.
        seed: Null to send none.
        max_tokens: Tokens of an answer, at most.
        request: Further keys of the request, such as `chat_template_kwargs: {enable_thinking:
            false}` or `reasoning_effort: low`.
        max_tokens_key: What the server calls `max_tokens`.
        endpoint: Where the server is, and how many requests it gets.
    """

    captioner: Literal["openai"] = "openai"
    model: str = Field(min_length=1, max_length=512)
    revision: str = Field(min_length=1, max_length=512)
    prompt: str = Field(default="describe", exclude=True)
    variants: tuple[str, ...] = Field(
        default=("tags", "short", "medium", "long", "user_prompt"), min_length=1
    )
    languages: tuple[str, ...] = Field(default=("en",), min_length=1)
    structured: bool = True
    format: Literal["json_schema", "json_object", "text"] = "json_schema"
    schema_limits: bool = False
    alt_text: bool = False
    metadata: bool = False
    category: bool = False
    ocr: bool = False
    max_fact_chars: int = Field(default=1000, ge=1, le=20_000)
    size_px: int = Field(default=1024, ge=64, le=4096)
    image_format: ImageFormat = "jpeg"
    quality: int = Field(default=90, ge=1, le=95)
    max_pixels: int = Field(default=64_000_000, ge=1, lt=1 << 31)
    temperature: float | None = Field(default=0.0, ge=0, le=2)
    seed: int | None = 0
    max_tokens: int = Field(default=4096, gt=_PROBE_TOKENS)
    request: dict[str, JsonValue] = {}
    max_tokens_key: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens", exclude=True
    )
    endpoint: EndpointConfig = Field(default_factory=EndpointConfig, exclude=True)

    @field_validator("variants", "languages")
    @classmethod
    def _once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            message = "expected each one once"
            raise ValueError(message)
        return names

    @field_validator("languages")
    @classmethod
    def _tags(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        for tag in tags:
            if not _LANGUAGE.fullmatch(tag):
                message = f"{tag!r} is no language tag; write one as in en, zh-Hant or pt-BR"
                raise ValueError(message)
        return tags

    @field_validator("request")
    @classmethod
    def _further(cls, request: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if own := sorted(_OWN_KEYS & set(request)):
            message = f"{own[0]} is no further key: the captioner sets it, or sends none"
            raise ValueError(message)
        return request


class OpenAICaptioner(Captioner):
    """Asks a model for a structured description and all captions of an image, in one request.

    One request, since the image costs the most tokens of a prompt and would be paid for again with
    every further one, and since captions written after one description agree with it and with each
    other. Each caption that is whole is kept where an answer is cut, so length costs the last ones.

    An image has to have cost tokens, or no caption is written: see `proof`.
    """

    version = 1
    config_type: ClassVar[type[OpenAIConfig]] = OpenAIConfig
    resources: ClassVar[Resources | None] = Resources(
        own_pool=True, shards_in_flight=4, max_workers=1
    )

    def __init__(self, config: OpenAIConfig) -> None:
        self._config = config
        self._schema = reply_schema(
            config.variants,
            config.languages,
            structured=config.structured,
            limits=config.schema_limits,
        )
        self._prompt: Prompt | None = None
        self._system = ""
        self._client: Client | None = None
        self._proof: Proof | None = None
        self._proved = 0.0
        self._memory: Memory | None = None

    def schema(self) -> pa.Schema:
        return CAPTION_MODEL

    def reads(self) -> tuple[str, ...]:
        return tuple(c for name, c in FACT_COLUMNS.items() if getattr(self._config, name))

    def optional(self) -> tuple[str, ...]:
        return self.reads()

    def pixels(self) -> PixelSpec:
        return PixelSpec(
            size_px=self._config.size_px,
            fit="inside",
            filter="lanczos",
            max_pixels=self._config.max_pixels,
        )

    def learn(self) -> Mapping[str, Any]:
        text = read_prompt(self._config.prompt)
        self._checked(text)
        # Workers, and whoever reads the dataset, need not have the file.
        return {"prompt": text}

    def digests(self, stage: Stage[Any]) -> Mapping[str, str]:
        return {"prompt": self._prompt_of(stage.facts).digest}

    def check(self, stage: Stage[Any]) -> None:
        check_ready(self._config.endpoint)

    def probe(self) -> Iterable[Finding]:
        config = self._config.endpoint
        subject = "endpoint"
        try:
            check_ready(config)
            subject = f"endpoint {redacted(config.address())}"
            found = connect(config, self._config.model).probe()
        except LongtailError as error:
            return [Finding(subject, False, str(error), "mend that before a run")]
        return [Finding(subject, True, found)]

    def setup(self, stage: Stage[Any]) -> None:
        """Make the client, and see that the model behind it receives images.

        Raises:
            EndpointError: It does not, or the endpoint cannot be used.
        """
        config = self._config
        self._prompt = self._prompt_of(stage.facts)
        self._system = self._rendered(self._prompt)
        pictures = probe_pictures(config.image_format, config.quality)
        control = self._body(self._prompt.bare_user, pictures[0], config.max_tokens)
        self._client = self.connect(control)
        self._proof = self._client.run(self._prove()).result()
        self._proved = time.monotonic()
        self._memory = Memory(_MEMORY_CHARS)

    def connect(self, control: Mapping[str, Any]) -> "Client":
        """Return the client; for captioners that start their server themselves.

        Args:
            control: A request that a healthy server answers.
        """
        return connect(self._config.endpoint, self._config.model, control=control)

    def start(self, pixels: NDArray[np.uint8], facts: Mapping[str, Any]) -> Future[Outcome]:
        assert self._client is not None, "setup comes first"
        assert self._prompt is not None, "setup comes first"
        assert self._memory is not None, "setup comes first"
        image = encoded(pixels, self._config.image_format, self._config.quality)
        words = self._prompt.user(self._known(facts))
        outcome = self._memory.get(key_of(image, words))
        if outcome is not None:
            return at_once(outcome)
        num_pixels = pixels.shape[0] * pixels.shape[1]
        return self._client.run(self._describe(image, words, num_pixels))

    # A request ---------------------------------------------------------------------------------

    async def _describe(self, image: bytes, words: str, num_pixels: int) -> Outcome:
        config, client, memory = self._config, self._client, self._memory
        assert client is not None, "setup comes first"
        assert memory is not None, "setup comes first"

        def body() -> Mapping[str, Any]:
            made = self._body(words, image, config.max_tokens)
            assert_shows(made, image)
            return made

        answer = await client.ask(body)
        if isinstance(answer, Failed):
            return Outcome(None, error=answer.error)
        columns: dict[str, Any] = {
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.completion_tokens,
            "model": answer.model or None,
            "revision": config.revision,
        }
        if answer.refusal is not None:
            outcome = Outcome("refused", (), columns)
        elif error := await self._unseen(answer, words, num_pixels):
            return Outcome(None, error=error)
        else:
            reply = read_reply(
                answer.text,
                config.variants,
                config.languages,
                structured=config.structured,
                cut=answer.finish_reason == "length",
            )
            columns["structured"] = reply.structured
            outcome = Outcome(reply.status, reply.captions, columns)
        memory.put(key_of(image, words), outcome)
        return outcome

    def _body(self, words: str, image: bytes | None, max_tokens: int) -> dict[str, Any]:
        config = self._config
        body: dict[str, Any] = {
            "messages": messages(self._system, words, image, config.image_format),
            config.max_tokens_key: max_tokens,
            **response_format(config.format, self._schema),
            **config.request,
        }
        if config.temperature is not None:
            body["temperature"] = config.temperature
        if config.seed is not None:
            body["seed"] = config.seed
        return body

    # Proof that images arrive ------------------------------------------------------------------

    async def _unseen(self, answer: Answer, words: str, num_pixels: int) -> str:
        """Return the `code: text` of a row whose image the model did not receive, else nothing.

        Raises:
            EndpointError: The server shows its model no images any more.
        """
        assert self._client is not None, "setup comes first"
        assert self._prompt is not None, "setup comes first"
        assert self._proof is not None, "setup comes first"
        seen = self._proof.is_seen(answer, num_pixels, _bytes_more(words, self._prompt.bare_user))
        if seen is None:
            without = await self._client.ask(self._body(words, None, _PROBE_TOKENS))
            if isinstance(without, Failed):
                return without.error
            seen = self._proof.is_seen_beside(answer, without, num_pixels)
        if seen:
            return ""
        if time.monotonic() - self._proved > _PROVE_AGAIN_S:
            self._proved = time.monotonic()
            self._proof = await self._prove()
        return row_error("unseen")

    async def _prove(self) -> Proof:
        """Ask with and without a picture.

        One of the requests is in all as those of rows are: a server with too little room for so
        long an answer refuses it here.

        Raises:
            EndpointError: The model receives no images, or takes no request of this kind.
        """
        assert self._client is not None, "setup comes first"
        assert self._prompt is not None, "setup comes first"
        config = self._config
        plain, busy = probe_pictures(config.image_format, config.quality)
        words = self._prompt.bare_user
        bodies = [
            self._body(words, None, _PROBE_TOKENS),
            self._body(words, plain, config.max_tokens),
            self._body(words, busy, _PROBE_TOKENS),
        ]
        where = f"{redacted(self._client.url)}, {self._client.model}"
        answers: list[Answer] = []
        for answer in await asyncio.gather(*map(self._client.ask, bodies)):
            if isinstance(answer, Failed):
                message = (
                    f"{where}: a request as those for captions fails: {answer.words}; change what "
                    "it complains of (`max_tokens`, `format`, `schema_limits`, `request`...), or "
                    "ask a model that takes images"
                )
                raise EndpointError(message)
            answers.append(answer)
        found = prove(*answers)
        if isinstance(found, str):
            message = f"{where}: {found}"
            raise EndpointError(message)
        return found

    # The prompt --------------------------------------------------------------------------------

    def _prompt_of(self, facts: Mapping[str, Any]) -> Prompt:
        text = facts.get("prompt")
        return self._checked(text if text is not None else read_prompt(self._config.prompt))

    def _checked(self, text: str) -> Prompt:
        """Return the prompt, once all of it was rendered."""
        where = f"the prompt {self._config.prompt}"
        prompt = Prompt(text, where)
        prompt.check_asked(self._config.variants, "caption")
        self._rendered(prompt)
        prompt.user(dict.fromkeys(_FACT_NAMES.values(), "x"))
        assert prompt.bare_user is not None
        return prompt

    def _rendered(self, prompt: Prompt) -> str:
        config = self._config
        return prompt.system(
            config.variants,
            config.languages,
            structured=config.structured,
            schema=None if config.format == "json_schema" else self._schema,
        )

    def _known(self, facts: Mapping[str, Any]) -> dict[str, str]:
        """Return what the prompt is told, by the names that it has there."""
        limit = self._config.max_fact_chars
        known = {
            _FACT_NAMES[name]: fact(facts[column], limit)
            for name, column in FACT_COLUMNS.items()
            if column in facts
        }
        return {name: text for name, text in known.items() if text}


def _bytes_more(words: str, bare: str) -> int:
    """Return how many bytes of `words` stand between a beginning and an end that `bare` has too."""
    start = _num_alike(words, bare)
    end = _num_alike(words[start:][::-1], bare[start:][::-1])
    return len(words[start : len(words) - end].encode())


def _num_alike(one: str, other: str) -> int:
    """Return how many characters two texts begin with alike."""
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
