"""Colours that go together, and arithmetic on colours."""

from dataclasses import dataclass
from random import Random

RGB = tuple[int, int, int]

_HEX = """
f4ead5 22333b c1440e e3a857 5e8c6a 2f5d62
0b132b f7f7ff 5bc0be ff6b6b ffe66d 3a506b
fff8f0 3d2c2e d1495b edae49 00798c 66a182
1b1b1e fbfffe 96031a faa916 6d676e 3a7ca5
f1faee 1d3557 e63946 457b9d a8dadc f4a261
264653 f8f4e3 e76f51 f4a261 e9c46a 2a9d8f
faf3dd 38302e 8c2f39 b23a48 fcb9b2 5f7470
10002b f3e9ff 7b2cbf e0aaff ff9e00 3c096c
edf2f4 2b2d42 ef233c 8d99ae d90429 5c677d
fefae0 283618 bc6c25 dda15e 606c38 a3b18a
03071e fff3d6 dc2f02 f48c06 ffba08 6a040f
e8eddf 242423 f5cb5c 4f772d cfdbd5 90a955
fdf0d5 003049 c1121f 669bbc 780000 f2b880
13293d e8f1f2 16a5d6 006494 f26419 f6ae2d
fff1e6 4a4e69 9a8c98 c9ada7 f2726f 22223b
f0f3bd 05668d 028090 00a896 02c39a 114b5f
2d1e2f f7e9e3 f15946 f9c22e 53b3cb e01a4f
ffffff 111111 e4002b ffcc00 0050a4 7f8c8d
f5efe7 213555 3e5879 d8c4b6 c8553d f28f3b
161a1d f5f3f4 ba181b e5383b b1a7a6 660708
d8e2dc 463f3a ffcad4 9d8189 f4acb7 6d6875
082032 dcd7c9 ff4c29 334756 2c7a7b c69749
fbf5ef 4f2c1d 8a5a44 c38e70 e3d5ca 7f9172
e0fbfc 253237 5c6b73 9db4c0 ee6c4d 3d5a80
101820 fee715 f2aa4c 00b1d2 ff5e78 f8f8f8
f9dbbd 450920 a53860 da627d ffa5ab 5b2333
"""


@dataclass(frozen=True)
class Palette:
    """A ground, an ink that reads well on it, and four accents."""

    ground: RGB
    ink: RGB
    accents: tuple[RGB, ...]

    def flipped(self) -> "Palette":
        """Return the same colours with ground and ink exchanged."""
        return Palette(self.ink, self.ground, self.accents)

    def accent(self, rng: Random) -> RGB:
        """Return one of the accents."""
        return rng.choice(self.accents)

    def accents_shuffled(self, rng: Random) -> list[RGB]:
        """Return all accents, in an order of their own."""
        return rng.sample(self.accents, len(self.accents))


def rgb(text: str) -> RGB:
    """Return the colour written as six hexadecimal digits."""
    red, green, blue = bytes.fromhex(text)
    return red, green, blue


PALETTES: tuple[Palette, ...] = tuple(
    Palette(colours[0], colours[1], tuple(colours[2:]))
    for colours in ([rgb(word) for word in line.split()] for line in _HEX.strip().splitlines())
)


def palette(rng: Random, *, light: bool | None = None) -> Palette:
    """Draw a palette; `light` asks for a light (True) or a dark (False) ground."""
    drawn = rng.choice(PALETTES)
    if light is None:
        return drawn
    return drawn if (luma(drawn.ground) > luma(drawn.ink)) is light else drawn.flipped()


def luma(colour: RGB) -> float:
    """Return the brightness of a colour from 0 to 255, weighted as in BT.601."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def contrast(first: RGB, second: RGB) -> float:
    """Return how far apart two colours are in brightness, 0 to 255."""
    return abs(luma(first) - luma(second))


def mix(first: RGB, second: RGB, share: float) -> RGB:
    """Return the colour at `share` of the way from `first` (0) to `second` (1)."""
    red, green, blue = (
        round(one + (two - one) * share) for one, two in zip(first, second, strict=True)
    )
    return red, green, blue


def readable_on(ground: RGB) -> RGB:
    """Return near-black or near-white, whichever can be read on `ground`."""
    return (24, 24, 28) if luma(ground) > 140 else (248, 248, 246)
