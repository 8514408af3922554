"""Outcomes kept for a shard that is gone through again."""

from stages.caption.captioner import Caption, Outcome
from stages.caption.memory import Memory, key_of


def outcome(text: str) -> Outcome:
    return Outcome("ok", (Caption("short", "en", text),), {"structured": None})


def test_outcomes_are_kept_by_image_and_words():
    """Another image, or other words, is another request."""
    memory = Memory(1 << 20)
    memory.put(key_of(b"a", "x"), outcome("one"))

    assert memory.get(key_of(b"a", "x")) == outcome("one")
    assert memory.get(key_of(b"a", "y")) is None
    assert memory.get(key_of(b"b", "x")) is None


def test_errors_are_not_kept():
    """They are tried again."""
    memory = Memory(1 << 20)
    memory.put(b"k", Outcome(None, error="timeout: no answer within 9 s"))

    assert memory.get(b"k") is None


def test_the_oldest_go_first():
    """It holds so many characters and no more; what was asked for lately stays."""
    memory = Memory(10_000)
    for number in range(4):
        memory.put(bytes([number]), outcome("x" * 1400))
    assert memory.get(b"\x00") is not None
    memory.put(b"\x04", outcome("x" * 1400))

    assert [memory.get(bytes([n])) is not None for n in range(5)] == [True, False, True, True, True]
