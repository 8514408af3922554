"""The client of model endpoints, against a server that does every bad thing."""

import contextlib
import json
import ssl
import threading
import time
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.endpoint import Answer, EndpointConfig, Failed, connect
from curation.endpoint.chat import filtered, parse_answer, refusal_of
from curation.endpoint.outcome import RequestError
from curation.errors import EndpointError
from schemas.error_codes import error_code, is_transient
from tests.curation.download.certificates import make_authority, make_certificate
from tests.fakes.openai_server import Asked, FakeOpenAI, serve


def _nested(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = st.sampled_from(["message", "content", "error", "code", "usage", "text", "refusal"])
    return st.lists(children, max_size=3) | st.dictionaries(keys, children, max_size=4)


QUICK: dict[str, Any] = {
    "backoff_s": 0.01,
    "max_wait_s": 0.05,
    "request_timeout_s": 0.4,
    "deadline_s": 1.5,
    "tries": 3,
}


def client(fake: FakeOpenAI, key: str | None = None, **config: Any):
    settings = EndpointConfig(url=fake.url, **{**QUICK, **config})
    return connect(settings, "fake-vl", key=key)


def request(text: str = "Hello there.", max_tokens: int = 9) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "max_tokens": max_tokens}


def only_for(text: str, what: str):
    """Do something bad to requests that say `text`, and nothing to others."""
    return lambda asked: what if text in asked.text else "ok"


def test_an_answer_has_all_that_the_server_says():
    """Text, tokens, the reason for its end, the model's own name and its fingerprint."""
    with serve() as fake:
        answer = client(fake).complete(request())

    assert isinstance(answer, Answer)
    assert answer.text == '{"text": "words"}'
    assert (answer.prompt_tokens, answer.completion_tokens) == (6, 2)
    assert (answer.finish_reason, answer.refusal) == ("stop", None)
    assert (answer.model, answer.system_fingerprint) == ("fake-vl-2026", "fp_1")
    assert answer.choice["index"] == 0


BAD = {
    "429": ("rate_limited", 3),
    "429_soon": ("rate_limited", 3),
    "429_late": ("rate_limited", 1),
    "500": ("service_failed", 3),
    "503": ("service_failed", 3),
    "error_200": ("service_failed", 3),
    "hang": ("timeout", 3),
    "trickle": ("timeout", 3),
    "cut": ("service_failed", 3),
    "hang_up": ("service_failed", 3),
    "not_json": ("bad_response", 3),
    "a_list": ("bad_response", 3),
    "html": ("bad_response", 3),
    "huge": ("bad_response", 3),
    "no_choices": ("bad_response", 3),
    "empty_choices": ("bad_response", 3),
    "redirect": ("bad_response", 1),
    "400": ("rejected", 1),
    "413": ("rejected", 1),
    "401": ("denied", 1),
    "403": ("denied", 1),
    "404": ("denied", 1),
    "quota": ("denied", 1),
}


@pytest.mark.parametrize("what", BAD)
def test_every_failure_of_a_row_ends_in_a_reason(what):
    """As many tries as the trouble is worth, then a code; a row beside it is answered."""
    code, tries = BAD[what]
    with serve(only_for("bad", what)) as fake:
        bad, good = client(fake).complete_all([request("bad"), request("good")])

    assert isinstance(bad, Failed)
    assert error_code(bad.error) == code
    assert isinstance(good, Answer)
    # A server that hangs up may close a connection on which the next try is already under way.
    unseen = 1 if what == "hang_up" else 0
    assert tries - unseen <= sum("bad" in asked.text for asked in fake.asked) <= tries


@pytest.mark.parametrize(
    "what", [name for name, (code, _) in BAD.items() if code not in ("rejected", "rate_limited")]
)
def test_a_server_that_fails_at_everything_is_no_fault_of_rows(what):
    """The sentence names the server; rows get no error, and none is tried for ever."""
    with serve(lambda asked: what) as fake, pytest.raises(EndpointError) as caught:
        client(fake).complete_all([request(str(number)) for number in range(5)])

    assert fake.url in str(caught.value)
    assert len(fake.asked) <= 5 * 3 + 2


def test_a_server_that_is_not_there_is_no_fault_of_rows():
    """Nothing listens, or the name is none."""
    with serve() as fake:
        pass
    with pytest.raises(EndpointError, match=r"no connection .*see that a server with an OpenAI"):
        client(fake).complete(request())
    fake.url = "http://no-such-host.invalid/v1"
    with pytest.raises(EndpointError, match="no such host: no-such-host.invalid"):
        client(fake).complete(request())


def test_transient_reasons_are_those_that_may_pass():
    """So `--retry-transient` tries again what another day may bring, and nothing else."""
    found = {}
    for what in ("429", "500", "hang", "400", "html"):
        with serve(only_for("bad", what)) as fake:
            bad = client(fake, request_timeout_s=0.1).complete(request("bad"))
        assert isinstance(bad, Failed)
        found[what] = is_transient(bad.error)

    assert found == {"429": True, "500": True, "hang": True, "400": False, "html": False}


def test_what_passes_is_tried_again():
    """A server that stumbles twice gives an answer at the third request."""

    def decide(asked: Asked) -> str:
        return ("500", "cut", "ok")[asked.number]

    with serve(decide) as fake:
        assert isinstance(client(fake).complete(request()), Answer)
    assert len(fake.asked) == 3


def test_a_server_may_ask_for_a_pause():
    """`Retry-After` is waited for, not the shorter back-off."""
    with serve(lambda asked: "429_second" if asked.number == 0 else "ok") as fake:
        before = time.monotonic()
        answer = client(fake, deadline_s=5).complete(request())

    assert isinstance(answer, Answer)
    assert time.monotonic() - before >= 1.0
    assert len(fake.asked) == 2


def test_too_many_failures_in_a_row_are_looked_into():
    """A server that says 429 to everything would otherwise cost every row."""
    with (
        serve(lambda asked: "429") as fake,
        pytest.raises(EndpointError, match="answered nothing else for long: lower max_in_flight"),
    ):
        client(fake, max_failures=4, tries=1).complete_all(
            [request(str(number)) for number in range(40)]
        )


def test_rows_that_fail_together_are_not_taken_for_the_server():
    """However many rows it refuses, a server that answers the control request is well."""
    with serve(only_for("bad", "400")) as fake:
        answers = client(fake, max_failures=4).complete_all(
            [request(f"bad {number}") for number in range(20)]
        )

    assert {error_code(answer.error) for answer in answers if isinstance(answer, Failed)} == {
        "rejected"
    }
    assert len(answers) == 20


@pytest.mark.parametrize("what", ["refusal", "content_filter", "filter_400"])
def test_a_refusal_is_an_answer(what):
    """The model's own, and that of a filter before or behind it."""
    with serve(lambda asked: what) as fake:
        answer = client(fake).complete(request())

    assert isinstance(answer, Answer)
    assert answer.refusal
    assert answer.text in ("", "null")
    assert len(fake.asked) == 1


def test_threads_share_the_slots():
    """Whoever asks, no more requests are under way than were allowed, and no fewer."""
    with serve(lambda asked: "slow") as fake:
        shared = client(fake, max_in_flight=4)

        def work(number: int) -> None:
            shared.complete_all([request(f"{number} {n}") for n in range(20)])

        threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(fake.asked) == 100
    assert fake.in_flight[1] == 4


def test_bodies_are_made_when_a_slot_is_free():
    """However many requests wait, no more bodies with images are in memory than are under way."""
    with serve(lambda asked: "slow") as fake:
        made: list[tuple[int, int]] = []

        def make(number: int) -> dict[str, Any]:
            made.append((len(made), len(fake.asked)))
            return request(str(number))

        shared = client(fake, max_in_flight=2)
        shared.complete_all([partial(make, number) for number in range(12)])

    assert len(fake.asked) == 12
    assert all(begun - asked <= 2 for begun, asked in made)


def test_requests_and_tokens_are_spaced():
    """Ten requests in a second are 600 a minute; six tokens a piece are paid for afterwards."""
    with serve() as fake:
        begun = time.monotonic()
        client(fake, requests_per_minute=1200).complete_all([request() for _ in range(11)])
        spaced = time.monotonic() - begun
        begun = time.monotonic()
        slow = client(fake, tokens_per_minute=60 * 80)
        for _ in range(6):
            slow.complete(request())
        paid = time.monotonic() - begun

    assert spaced >= 10 * 60 / 1200
    assert paid >= 5 * (6 + 2) / 80


def test_the_key_is_sent_and_never_told(caplog):
    """It stands in the header, and in no sentence, log or cause, though the server repeats it."""
    key = "sk-very-secret-123"
    with serve(key=key) as fake:
        assert isinstance(client(fake, key).complete(request()), Answer)
        with caplog.at_level("DEBUG"), pytest.raises(EndpointError) as caught:
            client(fake, "sk-other-secret-456").complete(request())

    assert fake.asked[0].headers["authorization"] == f"Bearer {key}"
    assert "Incorrect API key provided: ***" in str(caught.value)
    assert "secret" not in caplog.text
    assert caught.value.__cause__ is None


def test_a_redirect_is_not_followed_with_the_key():
    """Whoever stands behind it would have the key."""
    with serve(lambda asked: "redirect") as fake, pytest.raises(EndpointError, match="a redirect"):
        client(fake, "sk-1").complete(request())


def test_a_server_has_to_prove_who_it_is(tmp_path):
    """An authority that is not believed ends it; `ca_file` names one that is."""
    authority = make_authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(make_certificate(authority, "localhost"))
    with serve(context=context) as fake:
        fake.url = fake.url.replace("127.0.0.1", "localhost")
        answer = client(fake, ca_file=str(authority.file)).complete(request())
        with pytest.raises(EndpointError, match="it cannot prove that it is localhost"):
            client(fake, "sk-1").complete(request())

    assert isinstance(answer, Answer)
    assert len(fake.asked) == 1


def test_a_proxy_is_taken_from_the_environment_but_never_to_this_machine(monkeypatch):
    """What is asked for elsewhere goes through it, unless the environment says otherwise."""
    with serve(lambda asked: "ok") as proxy, serve() as fake:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "other.example")
        assert isinstance(client(fake).complete(request()), Answer)
        assert proxy.asked == []
        fake.url = "http://model.example/v1"
        assert isinstance(client(fake).complete(request()), Answer)
        assert len(proxy.asked) == 1
        fake.url = "http://other.example/v1"
        with pytest.raises(EndpointError, match="no such host"):
            client(fake, tries=1).complete(request())


def test_answers_are_read_however_they_are_written():
    """Content in parts, counts that are none, names that nobody can print."""
    body = {
        "choices": [{"message": {"content": [{"type": "text", "text": "a\ud800"}, {"text": "b"}]}}],
        "usage": {"prompt_tokens": True, "completion_tokens": -1, "prompt_tokens_details": [1]},
        "model": "m\ud800\x00\u202e",
        "system_fingerprint": 7,
    }
    answer = parse_answer(json.dumps(body).encode(), "")

    assert (answer.text, answer.finish_reason, answer.refusal) == ("a?b", "", None)
    assert (answer.prompt_tokens, answer.completion_tokens, answer.image_tokens) == (None,) * 3
    assert (answer.model, answer.system_fingerprint) == ("m", "")


@settings(max_examples=60)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), _nested))
def test_no_json_breaks_the_reader(value):
    """Whatever a server sends is an answer or a reason."""
    wrong = {"choices": [{"message": value, "finish_reason": value}], "usage": value}
    for body in (value, {"choices": value}, {"choices": [value]}, {"error": value}, wrong):
        with contextlib.suppress(RequestError):
            parse_answer(json.dumps(body).encode(), "k")
        refusal_of(400, json.dumps(body).encode(), "k")
        filtered(json.dumps(body).encode())


def test_the_probe_says_what_the_server_serves():
    """In a sentence: the model, other models, no list."""
    with serve() as fake:
        assert client(fake).probe() == f"{fake.url} serves fake-vl"
        fake.models = ("a", "b")
        assert client(fake).probe() == (
            f"{fake.url} answers, and does not list fake-vl (it lists a, b)"
        )
        fake.models = None
        assert client(fake).probe() == f"{fake.url} answers, and lists no models"
    with pytest.raises(EndpointError, match="no connection"):
        client(fake).probe()


def test_requests_are_the_same_bytes_each_time():
    """Nothing of the moment is in a request."""
    with serve() as fake:
        for _ in range(2):
            client(fake).complete({"seed": 1, **request()})

    assert [asked.number for asked in fake.asked] == [0, 1]
