"""What is taken of a model's JSON, and what is not."""

import hashlib
import json

import pytest

from stages.caption.description import Description
from stages.caption.openai import OpenAICaptioner
from stages.caption.reply import MAX_CAPTION_CHARS, clean, read_reply, reply_schema
from tests.fakes.openai_server import filled

VARIANTS = ("tags", "short")
LANGUAGES = ("en", "de")
WHOLE = filled(reply_schema(VARIANTS, LANGUAGES, structured=True, limits=False))


def read(value, *, cut=False, structured=True):
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return read_reply(text, VARIANTS, LANGUAGES, structured=structured, cut=cut)


def changed(**captions):
    return {**WHOLE, "captions": {"en": {"tags": "a", "short": "b"}, **captions}}


def test_a_whole_reply_is_taken_whole():
    """Captions by language and variant as asked for, not as written; the description as JSON."""
    turned = {"captions": dict(reversed(WHOLE["captions"].items())), **WHOLE}

    reply = read(turned)

    assert reply.status == "ok"
    assert [(c.language, c.variant) for c in reply.captions] == [
        ("en", "tags"), ("en", "short"), ("de", "tags"), ("de", "short"),
    ]  # fmt: skip
    assert reply.structured is not None
    assert json.loads(reply.structured) == WHOLE["description"]


def test_whatever_is_cut_off_nothing_is_made_up():
    """At every length, each caption that is kept is one of the whole, and none is a part of it."""
    text = json.dumps(WHOLE)
    whole = read(WHOLE)
    numbers = set()
    for length in range(len(text)):
        reply = read(text[:length], cut=True)
        assert reply.status == "truncated"
        assert reply.captions == whole.captions[: len(reply.captions)]
        assert reply.structured in (None, whole.structured)
        numbers.add(len(reply.captions))
    assert numbers == {0, 1, 2, 3, 4}
    assert read(text, cut=True).status == "ok"  # all was said before the limit


@pytest.mark.parametrize("cut", [False, True])
def test_thoughts_and_fences_are_no_part_of_a_reply(cut):
    """Models that are not held to a schema like to put them around it."""
    text = json.dumps(WHOLE)
    for dressed in (
        f"\n\n{text}\n",
        f"<think>{{}} hm</think>\n\n{text}",
        f"```json\n{text}\n```\n",
        f"<think>\n</think>```\n{text}\n```",
    ):
        assert read(dressed, cut=cut) == read(WHOLE)
    assert read("\n" * 1_000_000 + "```" + "\n" * 1_000_000, cut=cut).captions == ()


def test_a_broken_reply_that_was_not_cut_gives_nothing():
    """Only the server's word that it was cut makes half an answer one."""
    reply = read(json.dumps(WHOLE)[:-1])

    assert (reply.status, reply.captions, reply.structured) == ("invalid_json", (), None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '"words"',
        "7",
        "Here is your caption: a dog.",
        "{" * 2000,
        "\u0000",
        "{}",
    ],
)
def test_what_is_no_object_gives_nothing(text):
    """Whatever a model says instead."""
    assert read(text).captions == ()
    assert read(text).status == "invalid_json"


@pytest.mark.parametrize("bad", ["", "  \n", "...", "\u200b", 7, None, ["a"], "x" * 8001])
def test_a_caption_without_words_is_none(bad):
    """Blanks, dots, other types and endless repetition; the captions beside it are kept."""
    assert MAX_CAPTION_CHARS == 8000

    reply = read(changed(de={"tags": bad, "short": "Ein Hund."}))

    assert reply.status == "invalid_json"
    assert [c.text for c in reply.captions] == ["a", "b", "Ein Hund."]


def test_captions_are_texts_of_one_line():
    """NFC, no control characters, no marks that turn the writing round; emoji stay whole."""
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    text = f"  Cafe\u0301\x07 \u202etxt\u202c\r\n\tof {family}  "

    (_, _, first, _) = read(changed(de={"tags": text, "short": "y"})).captions

    assert first.text == f"Caf\u00e9 txt of {family}"


def test_verbatim_text_keeps_its_lines():
    """What was read off a poster stands on lines."""
    assert clean(" OPEN \r\n\r\n 24\th\x00 ", lines=True) == "OPEN\n\n24 h"


@pytest.mark.parametrize(
    "change",
    [
        {"image_type": "hologram"},
        {"image_type": None},
        {"mood": "cheerful"},
        {"scene": {}},
        {"subjects": [{"name": "dog"}]},
        {"subjects": "a dog"},
    ],
)
def test_a_description_has_all_its_fields_or_is_none(change):
    """Captions beside a wrong one are kept, and the status says so."""
    reply = read({**WHOLE, "description": {**WHOLE["description"], **change}})

    assert (reply.status, reply.structured) == ("invalid_json", None)
    assert len(reply.captions) == 4


def test_long_transcriptions_are_fine():
    """The limits of the schema are for grammars; a page of text is longer."""
    page = {"text": "word " * 2000, "position": "", "look": ""}

    assert read({**WHOLE, "description": {**WHOLE["description"], "texts": [page]}}).status == "ok"


def objects(schema):
    """Yield every object that a schema speaks of."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for value in schema.values():
            yield from objects(value)


@pytest.mark.parametrize("limits", [False, True])
def test_schemas_are_such_as_strict_servers_take(limits):
    """All keys required, no others, no titles; lengths only where they were asked for."""
    schema = reply_schema(VARIANTS, LANGUAGES, structured=True, limits=limits)

    found = list(objects(schema))
    assert len(found) == 11
    for item in found:
        assert item["additionalProperties"] is False
        assert item["required"] == list(item["properties"])
    text = json.dumps(schema)
    assert ("maxLength" in text) == ("maxItems" in text) == ("minimum" in text) == limits
    assert "title" not in text
    assert list(schema["properties"]) == ["description", "captions"]
    assert list(schema["properties"]["description"]["properties"]) == list(Description.model_fields)


def test_a_changed_schema_raises_the_version():
    """The fields are part of what captions mean; whoever changes them raises the version too."""
    schema = reply_schema(VARIANTS, LANGUAGES, structured=True, limits=True)
    digest = hashlib.sha256(json.dumps(schema).encode()).hexdigest()[:16]

    assert (OpenAICaptioner.version, digest) == (1, "9be0a7f446c15c5f")
