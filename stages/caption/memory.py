"""Outcomes of this process, kept for when a shard has to be gone through again.

A hindrance, a server that went away for a minute, throws a whole shard back. What was answered by
then was paid for.
"""

import hashlib
import threading
from collections import OrderedDict

from stages.caption.captioner import Outcome


class Memory:
    """Request -> outcome, the latest used ones; safe to use from several threads.

    Args:
        max_chars: Characters of all outcomes together.
    """

    def __init__(self, max_chars: int) -> None:
        self._max_chars = max_chars
        self._num_chars = 0
        self._outcomes: OrderedDict[bytes, Outcome] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: bytes) -> Outcome | None:
        """Return what came of a request."""
        with self._lock:
            outcome = self._outcomes.get(key)
            if outcome is not None:
                self._outcomes.move_to_end(key)
            return outcome

    def put(self, key: bytes, outcome: Outcome) -> None:
        """Keep what came of a request, unless it was an error."""
        if outcome.error is not None:
            return
        with self._lock:
            if key not in self._outcomes:
                self._num_chars += _size(outcome)
            self._outcomes[key] = outcome
            while self._num_chars > self._max_chars:
                _, oldest = self._outcomes.popitem(last=False)
                self._num_chars -= _size(oldest)


def key_of(image: bytes, words: str) -> bytes:
    """Return what stands for a request among those of one captioner."""
    digest = hashlib.sha256(image)
    digest.update(hashlib.sha256(words.encode()).digest())
    return digest.digest()


def _size(outcome: Outcome) -> int:
    texts = [caption.text for caption in outcome.captions]
    texts.append(outcome.columns.get("structured") or "")
    return 1000 + sum(map(len, texts))
