"""What files are called: as cameras, sites, people and programs call them."""

from random import Random

from curation.demo.drawing import words

_EXTENSIONS = {"JPEG": ("jpg", "jpg", "jpg", "jpeg"), "PNG": ("png",), "WEBP": ("webp",)}
_PLACES = ("фото", "写真", "épreuves", "größe", "ταξίδι", "foto-ñ")


def plain_stem(rng: Random, leaf: str, index: int) -> str:
    """Return a name without extension, unlike that of any other index."""
    style = rng.randrange(6)
    if style == 0:
        return f"{leaf}_{index:06d}"
    if style == 1:
        return f"IMG_{index:05d}"
    if style == 2:
        return f"{words.title(rng).lower().replace(' ', '-')}-{index}"
    if style == 3:
        return f"{rng.getrandbits(32):08x}{index:06x}"
    if style == 4:
        return f"DSC{index:05d}"
    return f"{rng.choice(words.PLACES).lower()}_{rng.randint(1998, 2026)}_{index}"


def copy_stem(rng: Random, stem: str, leaf: str, index: int) -> str:
    """Return a name for a copy: sometimes after its original, sometimes all its own."""
    if rng.random() < 0.6:
        return plain_stem(rng, leaf, index)
    return f"{stem}{rng.choice(('-copy', '_edit', '-small', '_final', '-web'))}{index}"


def extension(rng: Random, format: str) -> str:
    """Return an extension that belongs to a format."""
    return rng.choice(_EXTENSIONS[format])


def odd_path(rng: Random, folder: str, stem: str, suffix: str, detail: str) -> str:
    """Return the path of a file whose name is what is odd about it.

    Bytes that are no UTF-8 are surrogates, as Python spells such names.
    """
    if detail == "name_unicode":
        stem = f"{rng.choice(_PLACES)} {stem}"
    elif detail == "name_spaces":
        stem = f"{words.phrase(rng)}  {stem} (1)"
    elif detail == "name_not_utf8":
        stem = f"caf\udce9-{stem}"
    elif detail == "name_percent":
        stem = f"100%25 {stem}%"
    elif detail == "name_glob":
        stem = f"{stem} [1] {{a,b}} #2 & what?*"
    elif detail == "name_deep":
        middle = "/".join(rng.choice(words.NOUNS) for _ in range(14))
        folder = f"{folder}/{middle}"
    elif detail == "name_upper_case":
        suffix = suffix.upper()
    elif detail == "name_no_extension":
        return f"{folder}/{stem}"
    return f"{folder}/{stem}.{suffix}"
