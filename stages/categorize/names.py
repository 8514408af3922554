"""Names for categories, from the words that their images' texts have in common.

Paths, alt texts and captions are hostile input. A name is made of letters only, lower case, at most
three words of at most 24 letters: nothing in it can be markup, a path or a number. A word counts
once for each image, however often it is repeated, so one long text names nothing.
"""

import decimal
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence, Set

MAX_WORDS = 3
MAX_LETTERS = 24
MIN_LETTERS = 3
MAX_CHARACTERS = 4096
"""Of one text; what comes after is not looked at."""

_MIN_SHARE = 20
"""A word must be in at least 1/20 of a category's images, and in two of them, to name it."""

_FURTHER = decimal.Decimal("0.85")
"""A second or third word must score this share of the first."""

_RUNS = re.compile(r"[^\W_]+")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_EXTENSION = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,4}(?=[/!]|$)")
_DIGITS = "0123456789"

_STOP = frozenset(
    """and are but copy dsc dscn file final for from has have image images img into its jpeg jpg
    not photo photos pic pics picture pictures png scan that the their this untitled was webp were
    with you your""".split()
)
"""Words that say nothing of what a picture shows."""

_EXACT = decimal.Context(prec=40, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)
"""`decimal` defines ln as correctly rounded, so that scores compare alike on every machine."""


def words_of_key(key: str) -> set[str]:
    """Return the words of a source key, without extensions and percent-escapes."""
    return words_of(_EXTENSION.sub(" ", _ESCAPE.sub(" ", key)))


def words_of(text: str) -> set[str]:
    """Return the words of a text: runs of 3 to 24 letters in lower case that say something.

    Digits at the end of a run are cut off (`dogs2`); runs with digits elsewhere are no words.
    """
    plain = unicodedata.normalize("NFKC", text[:MAX_CHARACTERS]).casefold()
    runs = (run.rstrip(_DIGITS) for run in _RUNS.findall(plain))
    return {
        run
        for run in runs
        if MIN_LETTERS <= len(run) <= MAX_LETTERS and run.isalpha() and run not in _STOP
    }


def name_nodes(
    paths: Sequence[str], leaves: Sequence[str], words: Sequence[Set[str]]
) -> dict[str, str]:
    """Name every node of a tree by one to three words, unlike its siblings.

    A word scores for a node the square of the share of its images that have it, times the logarithm
    of how rare it is in the parent. A name has the best word and what comes near it; siblings that
    would be called alike take further words, at last the last part of their path (`dog c004`),
    which is also the whole name of a node without words. Words of names above are not repeated.

    Args:
        paths: Path of every node, parents before their children.
        leaves: For each image the path of its leaf.
        words: For each image the words of its texts.

    Source: TF-IDF by class, as in Grootendorst, BERTopic (arXiv 2203.05794), eq. 3; ours counts
        images instead of words, is relative to the parent instead of the whole, and squares the
        share, since a name should be true of most that is called by it.
    """
    counts: dict[str, Counter[str]] = {path: Counter() for path in ("", *paths)}
    sizes: Counter[str] = Counter()
    for leaf, found in zip(leaves, words, strict=True):
        sizes[leaf] += 1
        counts[leaf].update(found)
    for path in reversed(paths):
        parent = path.rpartition("/")[0]
        counts[parent].update(counts[path])
        sizes[parent] += sizes[path]
    names: dict[str, str] = {}
    taken: dict[str, set[frozenset[str]]] = {}
    for path in paths:
        parent, _, own = path.rpartition("/")
        above = {word for name in _above(parent, names) for word in name.split()}
        ranked = _rank(counts[path], sizes[path], counts[parent], sizes[parent], above)
        chosen = _choose(ranked, taken.setdefault(parent, set()), own)
        taken[parent].add(frozenset(chosen))
        names[path] = " ".join(chosen)
    return names


def full_name(path: str, names: Mapping[str, str]) -> str:
    """Return the names along a path, from the root down, `/`-separated."""
    return "/".join(_above(path, names))


def _above(path: str, names: Mapping[str, str]) -> list[str]:
    parts = path.split("/") if path else []
    return [names["/".join(parts[:depth])] for depth in range(1, len(parts) + 1)]


def _rank(
    own: Counter[str], size: int, parent: Counter[str], parent_size: int, above: Collection[str]
) -> list[tuple[str, decimal.Decimal]]:
    """Return the words that may name a node with their scores, the best first."""
    least = max(min(2, size), -(-size // _MIN_SHARE))
    scored = []
    for word, count in own.items():
        if count >= least and word not in above:
            share = _EXACT.divide(count, size)
            score = _EXACT.multiply(share, share)
            if size < parent_size:  # else an only child: nothing tells it from its parent
                rarity = _EXACT.divide(parent_size, parent[word])
                score = _EXACT.multiply(score, _EXACT.ln(rarity))
            if score > 0:
                scored.append((word, score))
    return sorted(scored, key=lambda item: (-item[1], -own[item[0]], item[0]))


def _choose(
    ranked: Sequence[tuple[str, decimal.Decimal]], taken: Collection[frozenset[str]], own: str
) -> list[str]:
    """Return the best words that no sibling is called by, with `own` where there are none."""
    near = [word for word, score in ranked if score >= _FURTHER * ranked[0][1]][:MAX_WORDS]
    others = [word for word, _ in ranked if word not in near]
    candidates = [near[:count] for count in range(len(near), 0, -1)]
    candidates += [[*near[: MAX_WORDS - 1], other] for other in others]
    candidates.append([*near[:1], own])
    return next(names for names in candidates if frozenset(names) not in taken)
