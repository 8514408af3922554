"""What a corpus will hold, decided before anything is painted.

The plan is a pure function of (number of images, seed, mean size). It is cheap, made by one
process, and says all that needs to be known of other images: which windows of a photograph are
taken, which file is a copy of which. So every planned image can be painted alone, anywhere.
"""

import math
from dataclasses import dataclass, replace
from random import Random
from typing import get_args

from curation.demo import names, seeds
from curation.demo.broken import BROKEN
from curation.demo.catalogue import BANDS, LEAVES, Leaf, shares
from curation.demo.edits import FREQUENCY, KEEPS_ALPHA
from curation.demo.files import Format, Kind, PlannedCopy, PlannedImage
from curation.demo.odd import ODD
from curation.demo.windows import Windows

_WITH_ALL_ODDITIES = 150  # the smallest corpus with a file of every broken and odd kind
_FAMILY = 4  # images in a family of hard negatives
_MOST_COPIES = 8


@dataclass(frozen=True)
class Counts:
    """How many files of each kind; `broken` and `odd` name what is wrong with each."""

    unique: int
    exact_copy: int
    near_copy: int
    hard_negative: int
    broken: tuple[str, ...]
    odd: tuple[str, ...]


def counts(images: int) -> Counts:
    """Return how many files of each kind a corpus has: 3 % exact and 15 % near copies, and so on.

    From 150 images on, every broken and every odd kind is there; a smaller corpus has some.
    """
    if images >= _WITH_ALL_ODDITIES:
        rounds = max(1, round(images / 1600))
        broken, odd = tuple(BROKEN) * rounds, tuple(ODD) * rounds
    else:
        broken, odd = tuple(BROKEN)[: images // 15], tuple(ODD)[: images // 10]
    exact, near = round(images * 0.03), round(images * 0.15)
    hard = round(images * 0.02 / _FAMILY) * _FAMILY
    unique = images - exact - near - hard - len(broken) - len(odd)
    return Counts(unique, exact, near, hard, broken, odd)


def make_plan(images: int, seed: int, mean_megapixels: float) -> list[PlannedImage]:
    """Return every original of a corpus with its copies, in the order of their numbers."""
    wanted = counts(images)
    originals = _originals(wanted, seed)
    originals = _sized(originals, seed, mean_megapixels)
    originals = _with_windows(originals, seed)
    return _with_copies(originals, wanted, seed)


def _originals(wanted: Counts, seed: int) -> list[PlannedImage]:
    rng = seeds.rolls("plan", seed)
    drawn: list[tuple[Kind, int, int, str | None]] = [
        ("unique", leaf, 0, None)
        for leaf, number in enumerate(shares(wanted.unique))
        for _ in range(number)
    ]
    opaque = [leaf for leaf, entry in enumerate(LEAVES) if not entry.alpha]
    drawn += [("broken", rng.choice(opaque[:30]), 0, detail) for detail in wanted.broken]
    bands = next(leaf for leaf, entry in enumerate(LEAVES) if entry.path == BANDS)
    for oddity in wanted.odd:
        leaf = rng.choice(opaque[:30])
        drawn.append(("odd", bands if ODD[oddity].stripes else leaf, 0, oddity))
    templates = [leaf for leaf, entry in enumerate(LEAVES) if entry.template]
    rng.shuffle(templates)
    for family in range(wanted.hard_negative // _FAMILY):
        leaf = templates[family % len(templates)]
        drawn += [("hard_negative", leaf, family + 1, None)] * _FAMILY
    rng.shuffle(drawn)
    originals, first_of = [], dict[int, int]()
    for index, (kind, leaf, family, detail) in enumerate(drawn):
        template = first_of.setdefault(family, index) if family else index
        originals.append(_original(seed, index, kind, leaf, template, detail))
    return originals


def _original(
    seed: int, index: int, kind: Kind, leaf: int, template: int, detail: str | None
) -> PlannedImage:
    rng = seeds.rolls("file", seed, index)
    entry = LEAVES[leaf]
    format = _format(rng, entry)
    suffix = names.extension(rng, format)
    if kind == "odd" and detail is not None:
        format = next((one for one in get_args(Format) if one == ODD[detail].format), format)
        suffix = ODD[detail].extension or suffix
    elif kind == "broken" and detail is not None:
        suffix = BROKEN[detail].extension
    stem = names.plain_stem(rng, entry.name, index)
    path = names.odd_path(rng, entry.path, stem, suffix, detail or "")
    return PlannedImage(index, kind, path, leaf, (1, 1), format, None, template, detail)


def _format(rng: Random, leaf: Leaf) -> Format:
    draw = rng.random()
    if leaf.alpha:
        return "PNG" if draw < 0.7 else "WEBP"
    return "JPEG" if draw < 0.86 else "PNG" if draw < 0.93 else "WEBP"


def _sized(originals: list[PlannedImage], seed: int, mean_megapixels: float) -> list[PlannedImage]:
    """Give every original a shape and a size, so that the mean is `mean_megapixels`."""
    shapes: list[tuple[float, float]] = []
    for original in originals:
        rng = seeds.rolls("size", seed, original.template)
        entry = LEAVES[original.leaf]
        across, down = rng.choice(entry.aspects)
        area = entry.scale * min(3.5, max(0.25, rng.lognormvariate(0, 0.6)))
        shapes.append((across / down, area))
    scale = mean_megapixels * 1e6 * len(shapes) / sum(area for _, area in shapes) if shapes else 1
    sized = []
    for original, (aspect, area) in zip(originals, shapes, strict=True):
        wide = max(32, round(math.sqrt(area * scale * aspect)))
        high = max(32, round(math.sqrt(area * scale / aspect)))
        size = ODD[original.detail].size if original.kind == "odd" and original.detail else None
        sized.append(replace(original, size=size or (wide, high)))
    return sized


def _with_windows(originals: list[PlannedImage], seed: int) -> list[PlannedImage]:
    """Reserve a window for every image that shows one photograph."""
    windows = Windows()
    planned = []
    for original in originals:
        entry = LEAVES[original.leaf]
        if entry.photographs:
            rng = seeds.rolls("window", seed, original.index)
            aspect = original.size[0] / original.size[1]
            base = rng.choice(entry.photographs)
            shot = windows.reserve(rng, base, aspect, flipped=entry.flipped, subject=entry.named)
            original = replace(original, shot=shot)
        planned.append(original)
    return planned


def _with_copies(originals: list[PlannedImage], wanted: Counts, seed: int) -> list[PlannedImage]:
    """Deal the copies out: most originals have none, a few have many."""
    rng = seeds.rolls("copies", seed)
    copied = [one for one in originals if one.kind == "unique"]
    rng.shuffle(copied)
    copies: dict[int, list[PlannedCopy]] = {}
    index = len(originals)
    left = wanted.near_copy
    for original in copied:
        number = min(left, _group_size(rng), _MOST_COPIES)
        for _ in range(number):
            edit = _edit(rng, LEAVES[original.leaf])
            copy = _copy(seed, index, original, edit, of=0)
            copies.setdefault(original.index, []).append(copy)
            index += 1
        left -= number
        if not left:
            break
    # Exact copies are of originals and of near copies alike.
    for number in range(wanted.exact_copy if copied else 0):
        original = copied[number % len(copied)] if rng.random() < 0.4 else rng.choice(copied)
        group = copies.setdefault(original.index, [])
        of = rng.randint(0, len([one for one in group if one.edit]))
        group.append(_copy(seed, index, original, None, of))
        index += 1
    return [replace(one, copies=tuple(copies.get(one.index, ()))) for one in originals]


def _group_size(rng: Random) -> int:
    return 1 + int(rng.expovariate(1.1)) if rng.random() < 0.9 else rng.randint(3, _MOST_COPIES)


def _edit(rng: Random, leaf: Leaf) -> str:
    usable = KEEPS_ALPHA if leaf.alpha else tuple(FREQUENCY)
    return rng.choices(usable, [FREQUENCY[edit] for edit in usable])[0]


def _copy(seed: int, index: int, original: PlannedImage, edit: str | None, of: int) -> PlannedCopy:
    """Plan a copy; its extension is put on when it is made, for the edit chooses the format."""
    rng = seeds.rolls("file", seed, index)
    entry = LEAVES[original.leaf]
    stem = original.path.rpartition("/")[2].rpartition(".")[0]
    name = names.copy_stem(rng, stem, entry.name, index)
    return PlannedCopy(index, f"{entry.path}/{name}", edit, of)
