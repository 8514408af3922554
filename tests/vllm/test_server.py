"""A real vLLM server does what the stages that start one count on."""

import json
import math
import os
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from curation.endpoint import Answer, Failed
from tests.fakes.tiny_qwen_vl import PATCH_PX
from tests.vllm.small import asking, picture

pytestmark = pytest.mark.vllm

TYPES = ("photo", "drawing", "interface")
SCHEMA = {
    "type": "object",
    "properties": {
        "type": {"type": "string", "enum": list(TYPES)},
        "tags": {
            "type": "array",
            "items": {"type": "string", "maxLength": 12},
            "minItems": 1,
            "maxItems": 3,
        },
        "scene": {"type": "string", "maxLength": 40},
    },
    "required": ["type", "tags", "scene"],
    "additionalProperties": False,
}
AS_JSON = {
    "type": "json_schema",
    "json_schema": {"name": "caption", "schema": SCHEMA, "strict": True},
}


def answer(client, request) -> Answer:
    found = client.complete(request)
    assert isinstance(found, Answer), found
    return found


@pytest.mark.parametrize("temperature", [0, 1])
def test_a_schema_of_enums_and_bounded_strings_comes_back_valid(client, temperature):
    """However a model rambles: it is cut by the grammar, not by us, and it is JSON."""
    requests = [
        asking(picture(n), temperature=temperature, seed=n, max_tokens=256, response_format=AS_JSON)
        for n in range(12)
    ]

    answers = client.complete_all(requests)

    for found in answers:
        assert isinstance(found, Answer)
        assert found.finish_reason == "stop"
        value = json.loads(found.text)  # strict: no raw control characters within strings
        assert value.keys() == {"type", "tags", "scene"}
        assert value["type"] in TYPES
        assert 1 <= len(value["tags"]) <= 3
        assert all(len(tag) <= 12 for tag in value["tags"])
        assert len(value["scene"]) <= 40
        assert found.text == json.dumps(value, ensure_ascii=False, separators=(",", ":")), "compact"


def test_an_answer_that_is_cut_says_so(client):
    """What a captioner needs for its status `truncated`."""
    found = answer(client, asking(picture(0), max_tokens=5, response_format=AS_JSON))

    assert found.finish_reason == "length"
    assert found.completion_tokens == 5
    with pytest.raises(json.JSONDecodeError):
        json.loads(found.text)


def test_the_image_is_in_the_prompt(client):
    """With as many tokens as its size asks for, and with an effect on what is said."""
    sized = {
        (width, height): answer(client, asking(picture(0, width, height), max_tokens=1))
        for width, height in ((96, 64), (192, 128))
    }
    without = answer(client, asking(max_tokens=1))

    assert without.prompt_tokens is not None
    for (width, height), found in sized.items():
        tokens = (width // PATCH_PX) * (height // PATCH_PX)
        # Two more stand for where the image begins and ends.
        assert found.prompt_tokens == without.prompt_tokens + tokens + 2

    def chances(url):
        request = asking(url, max_tokens=1, logprobs=True, top_logprobs=5)
        return answer(client, request).choice["logprobs"]["content"][0]["top_logprobs"]

    assert chances(picture(1)) == chances(picture(1))
    assert chances(picture(1)) != chances(picture(2))


def test_chances_of_just_these_tokens(client):
    """The way in which a score is read from 101 tokens: all of them, and whole chances."""
    ids = list(range(20, 121))

    found = answer(
        client,
        asking(
            picture(3),
            max_tokens=1,
            logprobs=True,
            logprob_token_ids=ids,
            return_tokens_as_token_ids=True,
        ),
    )

    chosen, *rest = found.choice["logprobs"]["content"][0]["top_logprobs"]
    assert chosen["token"] not in [f"token_id:{number}" for number in ids]
    assert [each["token"] for each in rest] == [f"token_id:{number}" for number in ids]
    total = 0.0
    for first in range(0, 448, 112):
        asked = list(range(first, first + 112))
        more = answer(
            client,
            asking(
                picture(3),
                max_tokens=1,
                logprobs=True,
                logprob_token_ids=asked,
                return_tokens_as_token_ids=True,
            ),
        )
        by_name = {
            each["token"]: each["logprob"]
            for each in more.choice["logprobs"]["content"][0]["top_logprobs"]
        }
        total += sum(math.exp(by_name[f"token_id:{number}"]) for number in asked)
    assert total == pytest.approx(1, abs=1e-4), (
        "over the whole vocabulary, not over those asked for"
    )


def test_more_than_128_tokens_are_refused(client):
    """A row's own fault, in the words of the client."""
    request = asking(picture(3), max_tokens=1, logprobs=True, logprob_token_ids=list(range(129)))

    found = client.complete(request)

    assert isinstance(found, Failed)
    assert found.error == "rejected: the service does not take this request (HTTP 400)"
    assert "max allowed: 128" in found.words


def test_without_the_key_nobody_is_let_in(server):
    """Other users of the machine can reach the port, too."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{server.url}/models", timeout=30)

    assert caught.value.code == 401
    arguments = "".join(
        path.read_text(errors="replace")
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if _ours(path)
    )
    assert server.url.split(":")[2].split("/")[0] in arguments
    assert server.api_key not in arguments, "command lines can be read by everybody"


def _ours(path: Path) -> bool:
    try:
        return path.stat().st_uid == os.getuid()
    except OSError:
        return False
