"""What is made of a vLLM server's answers; `tests/vllm/test_ernie.py` asks a real one."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from curation.endpoint import Answer, Failed
from curation.errors import EndpointError
from curation.pipeline.stage import Execution
from stages.aesthetic.ernie_config import ErnieImageAesConfig
from stages.aesthetic.ernie_prompt import QUESTION
from stages.aesthetic.ernie_vllm import VllmEngine

IDS = list(range(300, 401))
PICTURE = np.random.default_rng(0).integers(0, 256, (448, 448, 3), np.uint8)


@pytest.fixture
def engine(tmp_path):
    """An engine that was not loaded, with what loading finds out."""
    config = ErnieImageAesConfig(weights=str(tmp_path), engine="vllm")
    engine = VllmEngine(config, Execution())
    engine._ids = IDS
    engine._num_tokens = 340
    engine._system_message = "Be fair."
    return engine


def answer(entries, prompt_tokens: int | None = 340):
    listed = [{"token": token, "logprob": value} for token, value in entries]
    choice = {"logprobs": {"content": [{"top_logprobs": listed}]}}
    return Answer("aa", None, "length", prompt_tokens, 1, None, "", "", choice)


def test_a_request_shows_the_image_as_it_is(engine):
    """Every pixel, before the published question and nothing between; one token comes back."""
    request = engine._request(PICTURE)
    system, user = request["messages"]
    image, text = user["content"]

    data = base64.b64decode(image["image_url"]["url"].removeprefix("data:image/png;base64,"))
    assert (np.asarray(Image.open(io.BytesIO(data))) == PICTURE).all()
    assert system == {"role": "system", "content": "Be fair."}
    assert text["text"] == f"\n{QUESTION}"
    assert request["max_tokens"] == 1
    assert request["logprob_token_ids"] == IDS


def test_probabilities_are_taken_by_token(engine):
    """Whatever their order; the token that was chosen may be another one."""
    entries = [("token_id:7", -0.1), *((f"token_id:{n}", -float(n)) for n in reversed(IDS))]

    assert engine._read(answer(entries)).tolist() == [-float(n) for n in IDS]


@pytest.mark.parametrize(
    "broken",
    [
        answer([(f"token_id:{n}", -1.0) for n in IDS[:-1]]),
        answer([("aa", -1.0)]),
        answer([(f"token_id:{n}", None) for n in IDS]),
        Answer("aa", None, "length", 340, 1, None, "", "", {}),
        Answer("aa", None, "length", 340, 1, None, "", "", {"logprobs": None}),
    ],
)
def test_an_answer_without_all_words_is_a_row_without_a_score(engine, broken):
    """A missing word is not taken for an unlikely one."""
    assert engine._read(broken).startswith("bad_response: ")


def test_a_failed_request_is_the_rows_reason(engine):
    """In the client's words."""
    assert engine._read(Failed("timeout: no answer within 5 s")) == "timeout: no answer within 5 s"


@pytest.mark.parametrize("prompt_tokens", [84, None])
def test_a_prompt_without_the_image_gives_no_score(engine, prompt_tokens):
    """It is the server's fault, so no row is charged: a sentence says what was read."""
    complete = [(f"token_id:{n}", -1.0) for n in IDS]

    with pytest.raises(EndpointError, match=f"prompt of {prompt_tokens} tokens, expected 340"):
        engine._read(answer(complete, prompt_tokens))
