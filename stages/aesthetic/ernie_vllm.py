"""ERNIE-Image-Aes in a vLLM server that this process starts."""

import base64
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curation.endpoint import Answer, EndpointConfig, Failed, connect
from curation.endpoint.vllm_python import find_vllm_python, vllm_version
from curation.errors import ConfigError, EndpointError, EngineError
from curation.pipeline.stage import Execution, Finding
from curation.pixels.encode import encode_png
from schemas.error_codes import row_error
from stages.aesthetic.ernie_checkpoint import SIZE_PX, Released, convert
from stages.aesthetic.ernie_config import ErnieImageAesConfig
from stages.aesthetic.ernie_engine import DTYPES, Engine, check_packages
from stages.aesthetic.ernie_prompt import QUESTION, prompt, word_ids
from stages.aesthetic.scorer import Image

if TYPE_CHECKING:
    from curation.endpoint.client import Client
    from curation.endpoint.vllm_server import VllmServer

_NAME = "ernie-image-aes"
_ROOM = 8  # tokens that a request may be longer than the prompt
_MAX_IN_FLIGHT = 512  # more than vLLM works on at once, so that its queue never runs empty
_ID = "token_id:"


class VllmEngine(Engine):
    """The model behind vLLM, which is asked for one token and the probabilities of the score words.

    vLLM batches as requests come, so a score's last digits depend on what else is asked at the
    time: unlike all else here, two runs need not give the same bytes. Prefer `transformers` where
    that matters.

    Raises:
        EndpointError: From `load` and `logits`: the server does not start, or reads another prompt
            than the published one.
        EngineError: From `logits`: it ended. The next call starts another one.
    """

    def __init__(self, config: ErnieImageAesConfig, execution: Execution) -> None:
        super().__init__(config, execution)
        self.batch_size = execution.batch_size or 64
        self._turn = threading.Lock()
        self._server: VllmServer | None = None
        self._client: Client | None = None

    def check(self) -> None:
        check_packages("aiohttp", extra="http")
        check_packages("transformers", extra="vlm")  # for its tokenizer
        find_vllm_python(self.config.python)

    def probe(self) -> Iterable[Finding]:
        try:
            python = find_vllm_python(self.config.python)
        except ConfigError as error:
            return [Finding("vLLM", False, str(error), "mend that before a run")]
        return [Finding("vLLM", True, f"vLLM {vllm_version(python)} in {python}")]

    def load(self, folder: Path, digest: str) -> None:
        from transformers import AutoTokenizer

        released = Released.read(folder)
        self._model = convert(folder, digest)
        tokenizer = AutoTokenizer.from_pretrained(self._model, local_files_only=True)
        text = prompt(released.system_message, released.num_image_tokens)
        self._num_tokens = len(tokenizer.encode(text, add_special_tokens=False))
        self._ids = word_ids(tokenizer, str(folder))
        self._system_message = released.system_message
        self._start()

    def logits(self, images: Sequence[Image]) -> list[NDArray[np.float64] | str]:
        client = self._running()
        try:
            answers = client.complete_all([self._request(image) for image in images])
        except EndpointError as error:
            assert self._server is not None
            words = self._server.words_at_end()
            if words is None:
                raise
            message = f"vLLM ended while it worked on this shard: {words}"
            raise EngineError(message) from error
        return [self._read(answer) for answer in answers]

    def _start(self) -> None:
        from curation.endpoint.vllm_server import VllmServer

        server = VllmServer(
            find_vllm_python(self.config.python),
            self._model,
            _NAME,
            self.config.server,
            device=self.execution.device,
            cpus=self.execution.cpus,
            gpus=self.execution.gpus,
            options=(
                *("--dtype", DTYPES[self.config.precision]),
                *("--max-model-len", str(self._num_tokens + _ROOM)),
                *("--chat-template-content-format", "openai"),
            ),
        )
        server.start()
        self._server = server
        manners = EndpointConfig(url=server.url, max_in_flight=_MAX_IN_FLIGHT)
        grey = np.full((SIZE_PX, SIZE_PX, 3), 128, np.uint8)
        control = self._request(grey)
        self._client = connect(manners, _NAME, key=server.api_key, control=control)

    def _running(self) -> "Client":
        """Return the client of a server that lives; one that died is started again."""
        with self._turn:
            assert self._server is not None, "loaded before"
            assert self._client is not None, "loaded before"
            if not self._server.is_alive:
                self._client.close()
                self._server.close()
                self._start()
            return self._client

    def _request(self, image: Image) -> Mapping[str, Any]:
        png = encode_png(image, compress=False)
        data = f"data:image/png;base64,{base64.b64encode(png).decode()}"
        return {
            "messages": [
                {"role": "system", "content": self._system_message},
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "image_url",
                            "image_url": {"url": data},
                        },
                        {"type": "text", "text": f"\n{QUESTION}"},
                    ],
                },
            ],
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": True,
            "logprob_token_ids": self._ids,
            "return_tokens_as_token_ids": True,
        }

    def _read(self, answer: Answer | Failed) -> NDArray[np.float64] | str:
        """Return the logarithms of the words' probabilities, which are logits up to a constant."""
        if isinstance(answer, Failed):
            return answer.error
        if answer.prompt_tokens != self._num_tokens:
            message = (
                f"vLLM reads a prompt of {answer.prompt_tokens} tokens, expected "
                f"{self._num_tokens}: it is not the published one with its image; use the vLLM "
                "that `make vllm` installs, or `engine: transformers`"
            )
            raise EndpointError(message)
        try:
            found = {
                int(entry["token"].removeprefix(_ID)): float(entry["logprob"])
                for entry in answer.choice["logprobs"]["content"][0]["top_logprobs"]
            }
            return np.array([found[number] for number in self._ids])
        except (LookupError, TypeError, ValueError, AttributeError):
            return row_error("bad_response", reason="it lacks probabilities of score words")
