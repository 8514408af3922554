"""Which caption a visit is shown."""

from collections import Counter

import pytest
from pydantic import ValidationError

from training.data.captions import CaptionConfig, CaptionDraw
from training.draws import SampleKey

CAPTIONS = [
    {"variant": "short", "language": "en", "text": "a dog"},
    {"variant": "long", "language": "en", "text": "a dog runs"},
    {"variant": "long", "language": "de", "text": "ein Hund"},
    {"variant": "tags", "language": "en", "text": "dog"},
]
KEYS = [SampleKey(e, b"i" * 16, 0) for e in range(4000)]


def drawn(captions=CAPTIONS, **config):
    draw = CaptionDraw(CaptionConfig(**config), 3)
    usable = draw.usable(captions)
    return Counter(draw.draw(usable, key) for key in KEYS)


def test_variants_are_drawn_as_often_as_stated():
    """Three to one, the long ones evenly among their languages, and a tenth without text."""
    found = drawn(variants={"long": 3.0, "short": 1.0}, dropout=0.1)

    assert set(found) == {"", "a dog", "a dog runs", "ein Hund"}
    for text, share in [("", 0.1), ("a dog", 0.225), ("a dog runs", 0.3375), ("ein Hund", 0.3375)]:
        assert abs(found[text] / 4000 - share) < 0.03


def test_an_image_that_lacks_a_variant_draws_among_the_others():
    """Weights are those of what there is."""
    assert set(drawn(CAPTIONS[:1], variants={"long": 3.0, "short": 1.0}, dropout=0)) == {"a dog"}


def test_languages_can_be_chosen():
    """Captions of other languages are as if they were not there."""
    assert set(drawn(variants={"long": 1.0}, languages=("de",), dropout=0)) == {"ein Hund"}


def test_no_caption_is_no_text():
    """An image without a usable caption is shown the empty text."""
    assert set(drawn([], dropout=0)) == {""}


def test_weights_are_positive():
    """A weight of 0 is refused: leave the variant out."""
    with pytest.raises(ValidationError, match="above 0"):
        CaptionConfig(variants={"long": 0.0})
