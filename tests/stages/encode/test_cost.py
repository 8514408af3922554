"""What a cache takes, told before it is built."""

import re
from pathlib import Path

import pyarrow as pa
import pytest

from stages.encode.config import EncodeConfig
from stages.encode.cost import SAMPLE_TEXTS, chosen_texts, latent_bytes, mean_tokens, token_bytes
from stages.encode.stage import EncodeStage


def stage_of(**config):
    parsed = EncodeStage.parse(config, "stages.encode")
    assert isinstance(parsed, EncodeConfig)
    return EncodeStage(parsed)


def sample_of(texts, widths):
    lists = [[{"variant": "short", "language": "en", "text": text}] for text in texts]
    return pa.table({"caption.captions": lists, "inspect.width": pa.array(widths, pa.int32())})


def test_latents_are_counted_in_the_largest_bucket():
    """1024^2 of ERNIE-Image's codec: 128 channels of 64 x 64 in two bytes, 2.5 % more at most."""
    config = EncodeConfig(edge_px=1024)

    assert latent_bytes(config, 128, 16) == 75 * 56 * 128 * 2
    assert latent_bytes(config, 128, 16) / (64 * 64 * 128 * 2) < 1.026
    doubled = EncodeConfig(edge_px=1024, flip=True, latent_precision="fp32")
    assert latent_bytes(doubled, 128, 16) == 4 * latent_bytes(config, 128, 16)


def test_tokens_of_a_row_are_those_of_its_texts():
    """Of a sample, counted by the encoder's own rule, the empty text among them."""
    rows = [["", "one two three"], ["", "one"]] * SAMPLE_TEXTS
    counted = []

    def count(texts):
        counted.extend(texts)
        return [1 + len(text.split()) for text in texts]

    assert mean_tokens(rows[:6], count) == 4.0
    assert mean_tokens(rows, count) == pytest.approx(4.0, abs=0.3)
    assert len(counted) == 12 + SAMPLE_TEXTS
    assert mean_tokens([], lambda texts: []) is None


def test_a_cost_counts_what_captions_and_where_say():
    """A row's bytes are a mean over rows, those that are not selected among them."""
    stage = stage_of(edge_px=32, where="inspect_width >= 50")
    of_latents = latent_bytes(stage.config, 192, 8)

    cost = stage.cost(sample_of(["two words", "three words here"], [64, 32]))

    # "" has one token; a text one more than its words.
    tokens = 1 + 3.5
    assert cost.row_bytes == round((of_latents + tokens * 64 * 2) / 2)
    assert "4.5 tokens of 128 bytes" in cost.what
    assert "50.0% of rows" in cost.what


def test_what_is_not_known_yet_is_said():
    """Before there are captions, nobody knows how long they are."""
    stage = stage_of(edge_px=32)

    cost = stage.cost(pa.table({"caption.captions": pa.array([], pa.null())}))

    assert cost.row_bytes == latent_bytes(stage.config, 192, 8)
    assert "not known before there are captions" in cost.what


def test_texts_of_a_row_are_each_encoded_once():
    """Chosen by variant, null texts left out."""
    captions = [
        {"variant": "short", "text": "a"},
        {"variant": "long", "text": "a"},
        {"variant": "long", "text": None},
        {"variant": "tags", "text": "b"},
    ]

    assert chosen_texts(captions, None) == ["", "a", "b"]
    assert chosen_texts(captions, ["tags"]) == ["", "b"]
    assert chosen_texts(None, None) == [""]


@pytest.mark.parametrize(
    ("edge_px", "flip"), [(256, False), (512, False), (1024, False), (1024, True)]
)
def test_the_documented_costs_are_the_computed_ones(edge_px, flip):
    """The table in docs/training.md has what the code computes for a million images."""
    config = EncodeConfig(edge_px=edge_px, flip=flip)
    latents = latent_bytes(config, 128, 16) / 1e6
    texts = 3 * 200 * token_bytes(config, 3072) / 1e6
    name = f"{edge_px}², mirrored too" if flip else f"{edge_px}²"

    row = f"| {name} | {latents:.2f} TB | {texts:.2f} TB | {latents + texts:.2f} TB |"

    assert row in re.sub(" +", " ", Path("docs/training.md").read_text(encoding="utf-8"))
