"""The one function that stages' pixels come from."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from curation.pixels.color import Profile, to_srgb
from curation.pixels.decode import (
    RefusedError,
    Source,
    alone_if_large,
    decode,
    open_source,
)
from curation.pixels.geometry import halve, num_halvings, resize, turn_upright
from curation.pixels.spec import Header, PixelSpec, View


def views(data: bytes, specs: Sequence[PixelSpec]) -> list[View | str]:
    """Decode a file once and show it as each of `specs` asks.

    Not for two threads at once, which would wait for each other: workers are processes.

    Args:
        data: The bytes of a file, whatever they are.
        specs: What is wanted; equal ones share a view.

    Returns:
        For each spec its view, or the `code: text` that says why there is none: `empty`,
        `unsupported`, `bomb`, `truncated` or `undecodable`. A view depends on `data` and its own
        spec alone.

    Raises:
        MemoryError: There is not enough for the image.
    """
    found: dict[PixelSpec, View | str] = {}
    for limit in dict.fromkeys(spec.max_pixels for spec in specs):
        group = [spec for spec in dict.fromkeys(specs) if spec.max_pixels == limit]
        try:
            source = open_source(data, limit)
            with alone_if_large(source.facts.size):
                found.update(_decode_for(source, group))
        except RefusedError as refusal:
            found.update(dict.fromkeys(group, str(refusal)))
    return [found[spec] for spec in specs]


def _decode_for(source: Source, specs: Sequence[PixelSpec]) -> dict[PixelSpec, View]:
    """Decode at most twice: scaled for the small views, in full for those that see more."""
    found: dict[PixelSpec, View] = {}
    groups: dict[int, list[PixelSpec]] = {}
    for spec in specs:
        power = source.scale_power
        width, height = source.facts.size
        # Which way is up is not known before the file is decoded.
        possible = (spec.boxed(width, height), spec.boxed(height, width))
        seen = [turned for s in possible for turned in (s, s.lying())]
        fits = all(num_halvings(s, width, height) >= power for s in seen)
        groups.setdefault(power if fits else 0, []).append(spec)
    for power, group in groups.items():
        found.update(_Pyramid(source, power).views(group))
    return found


class _Pyramid:
    """A decoded image and its halvings."""

    def __init__(self, source: Source, power: int) -> None:
        self._source = source
        self._decoded = decode(source, power)
        self._samples = self._decoded.samples
        self._power = power
        self._colors: dict[tuple[int, int, int], tuple[NDArray[np.uint8], Profile]] = {}

    def views(self, specs: Sequence[PixelSpec]) -> dict[PixelSpec, View]:
        """Make the views of all `specs`, the least halved first."""
        found: dict[PixelSpec, View] = {}
        size = self._source.facts.size
        is_turned = self._decoded.due > 4
        upright = size[::-1] if is_turned else size
        shown = {spec: spec.boxed(*upright) for spec in specs}
        seen = {spec: s.lying() if is_turned else s for spec, s in shown.items()}
        for spec in sorted(specs, key=lambda s: num_halvings(seen[s], *size)):
            self._halve_to(num_halvings(seen[spec], *size))
            colors, profile = self._in_srgb(spec.background)
            pixels = resize(colors, seen[spec], *size, self._power)
            pixels = turn_upright(pixels, self._decoded.due)
            pixels.flags.writeable = False
            found[spec] = View(pixels, self._header(profile))
        return found

    def _halve_to(self, power: int) -> None:
        while self._power < power:
            self._samples = halve(self._samples)
            self._power += 1
            self._colors.clear()

    def _in_srgb(self, background: tuple[int, int, int]) -> tuple[NDArray[np.uint8], Profile]:
        if background not in self._colors:
            decoded = self._decoded
            self._colors[background] = to_srgb(
                self._samples, decoded.channels, decoded.profile, background
            )
        return self._colors[background]

    def _header(self, profile: Profile) -> Header:
        facts, decoded = self._source.facts, self._decoded
        width, height = facts.size if decoded.due <= 4 else facts.size[::-1]
        return Header(
            width=width,
            height=height,
            format=self._source.format,
            mode=facts.mode,
            orientation=decoded.orientation,
            num_frames=facts.num_frames,
            has_alpha=decoded.has_alpha,
            bits_per_sample=facts.bits_per_sample,
            color_profile=profile,
        )
