"""Proof by tokens that a model received an image."""

from typing import Any

import pytest

from curation.endpoint import Answer
from stages.caption.proof import PROBE_PX, Proof, prove


def answer(tokens: int | None, image_tokens: int | None = None) -> Answer:
    return Answer("x", None, "stop", tokens, 1, image_tokens, "m", "", {})


def test_a_server_that_shows_images_gives_a_proof():
    """Its text has the tokens it has, its images those that they cost more."""
    proof = prove(answer(100), answer(356), answer(356))

    assert isinstance(proof, Proof)
    assert proof.least_tokens(PROBE_PX**2) == 64
    assert proof.least_tokens(10 * PROBE_PX**2) == 64
    assert proof.least_tokens(32 * 32) == 1


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((100, 100, 100), "an image costs 0 tokens there"),
        ((100, 105, 105), "an image costs 5 tokens there"),
        ((100, 1300, 9000), "two images of one size cost 1200 and 8900 tokens"),
        ((100, None, None), "does not count tokens"),
        ((None, 356, 356), "does not count tokens"),
    ],
)
def test_any_other_is_found_out(counts: Any, words):
    """Dropped, replaced by a mark, pasted as text, not counted."""
    found = prove(*map(answer, counts))

    assert isinstance(found, str)
    assert words in found


@pytest.mark.parametrize(
    ("tokens", "fact_bytes", "seen"),
    [
        (100, 0, False),
        (104, 0, False),  # a mark in its place
        (164, 0, True),
        (356, 0, True),
        (None, 0, False),
        (140, 200, False),  # even all of it would be too little
        (372, 200, True),
        (250, 200, None),  # 150 tokens of facts and none of an image, or 50 and some?
    ],
)
def test_an_image_has_to_have_cost_tokens(tokens, fact_bytes, seen):
    """More than the same words without it; where facts may account for it, nothing is said."""
    proof = Proof(100, 256)

    assert proof.is_seen(answer(tokens), PROBE_PX**2, fact_bytes) is seen


def test_tokens_of_images_are_believed_where_they_are_stated():
    """Some servers say how many of the prompt's tokens stand for images."""
    proof = Proof(100, 256)

    assert proof.is_seen(answer(250, 144), PROBE_PX**2, 200) is True
    assert proof.is_seen(answer(250, 3), PROBE_PX**2, 200) is False


def test_the_same_words_without_the_image_decide():
    """The difference is the image's own."""
    proof = Proof(100, 256)

    assert proof.is_seen_beside(answer(250), answer(150), PROBE_PX**2)
    assert not proof.is_seen_beside(answer(250), answer(249), PROBE_PX**2)
    assert not proof.is_seen_beside(answer(250), answer(None), PROBE_PX**2)
